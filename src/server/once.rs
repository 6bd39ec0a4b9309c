//! A future as one of Pingora's background services.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use pingora::server::ShutdownWatch;
use pingora::services::background::{BackgroundService, GenBackgroundService, background_service};

/// A future run once as one of Pingora's background services.
pub(super) struct Once(Mutex<Option<BoxFuture<'static, ()>>>);

impl Once {
    pub(super) fn service(
        name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> GenBackgroundService<Self> {
        background_service(name, Self(Mutex::new(Some(Box::pin(work)))))
    }
}

#[async_trait]
impl BackgroundService for Once {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            work.await;
        }
    }
}
