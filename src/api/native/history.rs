//! Reading the journal without holding anybody up.
//!
//! A read may wait for a disk, and a full page of it may take a while to write out. Both happen on
//! threads that are there to be blocked, a few at a time: history is for people, and however many of
//! them look back, what machines ask of the control plane must not queue behind it.

use tokio::sync::Semaphore;

use crate::api::Api;
use crate::api::problem::{Kind, Problem};
use crate::registry::journal::Journal;

/// How many reads go on at once; later ones wait.
static READERS: Semaphore = Semaphore::const_new(4);

/// What `read` makes of the journal.
pub(super) async fn read<T, F>(api: &Api, read: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&dyn Journal) -> Result<T, Problem> + Send + 'static,
{
    let turn = READERS.acquire().await;
    let journal = api.registry.journal();
    let reading = tokio::task::spawn_blocking(move || {
        // Taken along, because the read goes on when its caller hangs up.
        let _turn = turn;
        read(&*journal)
    });
    reading.await.unwrap_or_else(|error| {
        let detail = format!("the journal cannot be read: {error} (expected the read to finish)");
        Err(Problem::new(Kind::Unavailable, detail))
    })
}
