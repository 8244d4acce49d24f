//! How everything here learns that it is time to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

pub(crate) struct Stop {
    /// Read by every session on every turn, so it shares nothing that is ever written to before the end.
    is_told: AtomicBool,
    bell: watch::Sender<bool>,
}

impl Stop {
    pub(crate) fn new() -> Stop {
        Stop { is_told: AtomicBool::new(false), bell: watch::Sender::new(false) }
    }

    pub(crate) fn tell(&self) {
        self.is_told.store(true, Ordering::Relaxed);
        self.bell.send_replace(true);
    }

    pub(crate) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }

    /// Resolves when told, at once if that was before.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut bell = self.bell.subscribe();
        async move {
            // An error would mean that the sender is gone, and everything with it.
            let _ = bell.wait_for(|told| *told).await;
        }
    }
}
