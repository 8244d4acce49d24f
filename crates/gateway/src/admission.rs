//! Who may have a connection: how many in all, and how many from one address.
//!
//! Always true: a connection is counted from its admission until its [`Seat`] is dropped, in whatever way it ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
pub(crate) struct Admission {
    all_max: usize,
    per_address_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Everywhere,
    Address,
}

impl Full {
    /// For metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Full::Everywhere => "too_many_connections",
            Full::Address => "too_many_from_address",
        }
    }
}

impl Admission {
    pub(crate) fn new(all_max: usize, per_address_max: usize) -> Arc<Admission> {
        Arc::new(Admission { all_max, per_address_max, held: Mutex::default() })
    }

    /// Gives a connection from `address` a seat.
    pub(crate) fn admit(self: &Arc<Admission>, address: IpAddr) -> Result<Seat, Full> {
        let network = network(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.all >= self.all_max {
            return Err(Full::Everywhere);
        }
        let from_there = held.by_address.entry(network).or_default();
        if *from_there >= self.per_address_max {
            return Err(Full::Address);
        }
        *from_there += 1;
        held.all += 1;
        Ok(Seat { admission: self.clone(), network })
    }
}

/// One admitted connection.
pub(crate) struct Seat {
    admission: Arc<Admission>,
    network: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.admission.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all -= 1;
        if let Some(from_there) = held.by_address.get_mut(&self.network) {
            *from_there -= 1;
            if *from_there == 0 {
                held.by_address.remove(&self.network);
            }
        }
    }
}

/// What counts as one address. A customer of an IPv6 network has a /64 at least, so that single addresses would
/// limit nobody.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admit(admission: &Arc<Admission>, from: &str) -> Result<Seat, Full> {
        admission.admit(address(from))
    }

    #[test]
    fn an_address_may_have_so_many_and_gets_a_seat_back_when_one_is_left() {
        let admission = Admission::new(10, 2);
        let first = admit(&admission, "10.0.0.1").ok();
        let _second = admit(&admission, "10.0.0.1").ok();
        assert_eq!(admit(&admission, "10.0.0.1").err(), Some(Full::Address));
        assert!(admit(&admission, "10.0.0.2").is_ok());
        drop(first);
        assert!(admit(&admission, "10.0.0.1").is_ok());
    }

    #[test]
    fn so_many_fit_in_all() {
        let admission = Admission::new(2, 2);
        let seats = ["10.0.0.1", "10.0.0.2"].map(|from| admit(&admission, from).ok());
        assert_eq!(admit(&admission, "10.0.0.3").err(), Some(Full::Everywhere));
        drop(seats);
        assert!(admit(&admission, "10.0.0.3").is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_one_is_ipv4() {
        let admission = Admission::new(10, 1);
        let _held = ["2001:db8:1:2::1", "10.0.0.1"].map(|from| admit(&admission, from).ok());
        assert_eq!(admit(&admission, "2001:db8:1:2:ffff::2").err(), Some(Full::Address));
        assert_eq!(admit(&admission, "::ffff:10.0.0.1").err(), Some(Full::Address));
        assert!(admit(&admission, "2001:db8:1:3::1").is_ok());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let admission = Admission::new(10, 2);
        drop(admit(&admission, "10.0.0.1").ok());
        assert!(admission.held.lock().unwrap().by_address.is_empty());
    }
}
