//! Telling the service manager how far we are, as sd_notify(3) describes: a word in a datagram.
//!
//! Always true: a service manager that does not listen keeps nobody from serving.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Everything listens.
pub(crate) const READY: &str = "READY=1";
/// No new connections are taken.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Says a word, if somebody has asked to be told.
pub(crate) fn service_manager(word: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell(&socket, word) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

fn tell(socket: &OsStr, word: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // A name that is no file.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // One whose queue is full is not waited for.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(word.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_arrives_at_a_file_and_at_a_name_that_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("notify");
        let name = format!("otaru-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let heard = [UnixDatagram::bind(&file).unwrap(), UnixDatagram::bind_addr(&address).unwrap()];
        tell(file.as_os_str(), READY).unwrap();
        tell(format!("@{name}").as_ref(), READY).unwrap();
        for socket in heard {
            let mut word = [0; 64];
            let length = socket.recv(&mut word).unwrap();
            assert_eq!(&word[..length], READY.as_bytes());
        }
        assert!(tell(dir.path().join("nobody").as_os_str(), READY).is_err());
    }
}
