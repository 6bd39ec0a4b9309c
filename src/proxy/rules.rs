//! What one request is held to: its service's policy, with what its route sets laid over it.

use crate::cluster::policy::{Policy, Timeouts};
use crate::route::Overrides;

/// The limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) timeouts: Timeouts,
    /// The longest body, in bytes.
    pub(super) max_body: Option<u64>,
    /// How many times more it is tried once it was sent.
    pub(super) attempts: u32,
}

impl Rules {
    pub(super) fn of(policy: &Policy) -> Self {
        Self {
            timeouts: policy.timeouts,
            max_body: policy.max_body,
            attempts: policy.retry.attempts,
        }
    }

    pub(super) fn laid_over(policy: &Policy, over: &Overrides) -> Self {
        let base = policy.timeouts;
        Self {
            timeouts: Timeouts {
                connect: over.timeouts.connect.unwrap_or(base.connect),
                first_byte: over.timeouts.first_byte.unwrap_or(base.first_byte),
                between_bytes: over.timeouts.between_bytes.unwrap_or(base.between_bytes),
                request: over.timeouts.request.unwrap_or(base.request),
                total: over.timeouts.total.unwrap_or(base.total),
                idle: base.idle,
                tunnel: over.timeouts.tunnel.unwrap_or(base.tunnel),
            },
            max_body: over.max_body.unwrap_or(policy.max_body),
            attempts: match over.retry {
                Some(false) => 0,
                Some(true) | None => policy.retry.attempts,
            },
        }
    }
}
