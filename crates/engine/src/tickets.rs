//! Tickets: what a browser shows in place of a token where it cannot send a header. Each opens the live events once,
//! soon, for whoever it was made for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::driver::Engine;
use crate::limits::{TICKET_LIFE, TICKETS_MAX};
use crate::tokens::{Operator, TokenError};

/// Tickets that are out, by their hash: each with its end and whose it is.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<BTreeMap<[u8; 32], (Duration, Operator)>>);

impl Engine {
    /// Makes a ticket that is good once, for [`TICKET_LIFE`]. Of more than [`TICKETS_MAX`] the one that would end first
    /// is good no longer.
    ///
    /// # Errors
    ///
    /// `Random`: the machine has none to give.
    pub fn make_ticket(&self, by: &Operator) -> Result<String, TokenError> {
        let ticket = Engine::random_token()?;
        let now = self.shared.clock.elapsed();
        let mut tickets = self.shared.tickets.lock();
        tickets.retain(|_, (end, _)| *end > now);
        while tickets.len() >= TICKETS_MAX {
            let first = tickets.iter().min_by_key(|(_, (end, _))| *end).map(|(hash, _)| *hash);
            first.map(|hash| tickets.remove(&hash));
        }
        tickets.insert(hash(&ticket), (now + TICKET_LIFE, by.clone()));
        Ok(ticket)
    }

    /// Whose ticket it is; it is good no longer. `None`: it is none, was used, or has ended.
    #[must_use]
    pub fn take_ticket(&self, ticket: &str) -> Option<Operator> {
        let now = self.shared.clock.elapsed();
        let (end, by) = self.shared.tickets.lock().remove(&hash(ticket))?;
        (end > now).then_some(by)
    }
}

impl Tickets {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], (Duration, Operator)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket.as_bytes()).into()
}
