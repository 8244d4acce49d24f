//! Chooses the port before anybody listens on it.
//!
//! The engine tells devices the address of the HTTP side, and has to know it before that side, which needs the
//! engine, can listen. When the port is left to the system, it is taken here first: a socket that is bound and
//! does not listen keeps the port from being given to anybody who asks for a free one, and does not keep us from
//! listening on it (both sockets have `SO_REUSEADDR`).

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// A port that is ours until this is dropped.
pub(crate) struct Reserved {
    pub(crate) address: SocketAddr,
    _socket: Option<Socket>,
}

/// `address` with a port: its own, or a free one that is taken for us if it has none.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<Reserved> {
    if address.port() != 0 {
        return Ok(Reserved { address, _socket: None });
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket();
    let address = bound.ok_or_else(|| io::Error::other("a TCP socket has no TCP address"))?;
    Ok(Reserved { address, _socket: Some(socket) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_port_can_be_listened_on_and_is_given_to_nobody_else() {
        let reserved: Vec<Reserved> = (0..50).map(|_| reserve(([127, 0, 0, 1], 0).into()).unwrap()).collect();
        let others: Vec<_> = (0..50)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
            .collect();
        for one in &reserved {
            assert!(!others.contains(&one.address));
            tokio::net::TcpListener::bind(one.address).await.unwrap();
        }
    }

    #[test]
    fn a_port_that_was_asked_for_stays() {
        let asked = SocketAddr::from(([127, 0, 0, 1], 8080));
        assert_eq!(reserve(asked).unwrap().address, asked);
    }
}
