//! What the listeners present, for as long as it is not replaced.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::CertifiedKey;

/// One certificate with its key, for every connection. A handshake under way keeps the one it began with.
#[derive(Debug)]
pub(super) struct Identity(RwLock<Arc<CertifiedKey>>);

impl Identity {
    pub(super) fn new(pair: CertifiedKey) -> Identity {
        Identity(RwLock::new(Arc::new(pair)))
    }

    pub(super) fn replace(&self, pair: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// Sessions that are remembered for clients that resume them, which is what rustls does by itself.
const SESSIONS_MAX: usize = 256;

/// TLS sessions that can be resumed, until they are forgotten.
#[derive(Debug)]
pub(super) struct Resumable(RwLock<Arc<ServerSessionMemoryCache>>);

impl Resumable {
    pub(super) fn new() -> Resumable {
        Resumable(RwLock::new(ServerSessionMemoryCache::new(SESSIONS_MAX)))
    }

    pub(super) fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ServerSessionMemoryCache::new(SESSIONS_MAX);
    }

    fn current(&self) -> Arc<ServerSessionMemoryCache> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StoresServerSessions for Resumable {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.current().put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.current().take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_resumed_until_all_are_forgotten() {
        let sessions = Resumable::new();
        assert!(sessions.put(b"key".to_vec(), b"session".to_vec()));
        assert_eq!(sessions.get(b"key"), Some(b"session".to_vec()));
        sessions.forget();
        assert_eq!(sessions.get(b"key"), None);
    }
}
