//! What spares a client that comes again most of the handshake.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

/// How many sessions are remembered of clients that take no tickets.
const REMEMBERED: usize = 1_024;

/// The sessions that may be resumed. Tickets (RFC 5077; RFC 8446, section 4.6.1) are sealed with keys
/// that only this process has, and that change twice a day.
#[derive(Debug)]
pub(super) struct Sessions {
    tickets: Option<Arc<dyn ProducesTickets>>,
    remembered: Arc<dyn StoresServerSessions>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            // Without randomness there is no handshake either.
            tickets: Ticketer::new().ok(),
            remembered: ServerSessionMemoryCache::new(REMEMBERED),
        }
    }
}

impl Sessions {
    /// Has `config` resume these.
    pub(super) fn apply(&self, config: &mut ServerConfig) {
        if let Some(tickets) = &self.tickets {
            config.ticketer = Arc::clone(tickets);
        }
        config.session_storage = Arc::clone(&self.remembered);
    }
}
