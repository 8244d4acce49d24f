//! Reading, writing and letting go of a byte stream, plain or TLS.
//!
//! Always true:
//! - A connection that waits for input has no buffer: the space read into is on the stack.
//! - Nothing here waits for ever.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::limits::{LINGER_BYTES_MAX, READ_BYTES};

/// A byte stream to a device.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Waits for input and appends what there is, at most [`READ_BYTES`], to `into`. Answers how much; 0 at the end of
/// the stream. Cancel safe.
pub(crate) async fn read_some<S: Stream>(stream: &mut S, into: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut found = ReadBuf::uninit(&mut space);
        match Pin::new(&mut *stream).poll_read(cx, &mut found) {
            Poll::Ready(Ok(())) => {
                into.extend_from_slice(found.filled());
                Poll::Ready(Ok(found.filled().len()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Why something was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteFailure {
    /// The peer did not read for too long.
    Unread,
    /// The connection is gone.
    Lost,
}

/// Writes all of `bytes`, within `time_max`.
pub(crate) async fn write<S: Stream>(
    stream: &mut S,
    bytes: &[u8],
    time_max: Duration,
) -> Result<(), WriteFailure> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match timeout(time_max, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(WriteFailure::Lost),
        Err(_) => Err(WriteFailure::Unread),
    }
}

/// Writes the last word and closes, without a reset that would take that word back: a socket that is closed with
/// unread input resets the connection, and the peer may then never see what was written last.
pub(crate) async fn part<S: Stream>(stream: &mut S, last_word: &[u8], time_max: Duration) {
    let parting = async {
        stream.write_all(last_word).await?;
        stream.shutdown().await?;
        let mut ignored = Vec::new();
        let mut bytes = 0;
        while bytes < LINGER_BYTES_MAX {
            match read_some(stream, &mut ignored).await? {
                0 => break,
                more => bytes += more,
            }
            ignored.clear();
        }
        io::Result::Ok(())
    };
    // Whether the peer heard it makes no difference any more.
    let _ = timeout(time_max, parting).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialing = TcpStream::connect(listener.local_addr().unwrap());
        let (dialed, accepted) = tokio::join!(dialing, listener.accept());
        (dialed.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn the_last_word_is_not_taken_back_by_what_was_left_unread() {
        let (mut device, mut ours) = pair().await;
        device.write_all(&[0; 64 * 1024]).await.unwrap();
        // The device does not close its side, so we wait for that as long as we are told to.
        part(&mut ours, b"bye", Duration::from_millis(100)).await;
        drop(ours);
        // Linux reads what came before a reset all the same; other stacks do not.
        assert!(device.take_error().unwrap().is_none(), "the connection was reset");
        let mut heard = Vec::new();
        device.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"bye");
    }

    #[tokio::test]
    async fn who_does_not_read_in_time_is_told_from_who_is_gone() {
        let (device, mut ours) = pair().await;
        let much = vec![0; 64 * 1024 * 1024];
        let short = Duration::from_millis(50);
        assert_eq!(write(&mut ours, &much, short).await, Err(WriteFailure::Unread));
        drop(device);
        assert_eq!(write(&mut ours, &much, PATIENCE).await, Err(WriteFailure::Lost));
    }

    #[tokio::test]
    async fn at_most_so_much_is_read_at_once() {
        let (mut device, mut ours) = pair().await;
        device.write_all(&[7; 3 * READ_BYTES]).await.unwrap();
        drop(device);
        let mut into = Vec::new();
        loop {
            let before = into.len();
            let read = read_some(&mut ours, &mut into).await.unwrap();
            assert!(read <= READ_BYTES && into.len() == before + read);
            if read == 0 {
                break;
            }
        }
        assert_eq!(into, [7; 3 * READ_BYTES]);
    }
}
