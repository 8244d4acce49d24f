//! A body whose bytes are counted as the socket takes them.
//!
//! Always true:
//! - A byte counts when the connection has taken it, not when it was read from the disk: what is left over when a
//!   device goes away was not served.
//! - Of a body that is not metered nothing is counted, and it passes through as it is.
//!
//! What "taken" means: the kernel's buffer on a plain connection, the session's on one with TLS, which holds at most
//! 64 KiB more. Whether the device has it, only the device knows.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use otaru_places::Work;

/// Travels in the extensions of an answer whose body is to be metered: who counts, and where in the file it begins.
#[derive(Clone)]
pub(crate) struct Meter {
    count: Arc<dyn Fn(Range<u64>) + Send + Sync>,
    at: u64,
}

impl Meter {
    /// `count` is told which bytes of the file were taken, and is dropped with the last of them.
    pub(crate) fn new(at: u64, count: impl Fn(Range<u64>) + Send + Sync + 'static) -> Meter {
        Meter { count: Arc::new(count), at }
    }
}

/// A body on its way to the socket.
pub(crate) struct Metered {
    body: Body,
    meter: Option<Meter>,
    /// Keeps its connection's place while it is on its way.
    _work: Option<Work>,
}

impl Metered {
    pub(crate) fn new(
        mut response: axum::response::Response,
        work: Option<Work>,
    ) -> axum::http::Response<Metered> {
        let meter = response.extensions_mut().remove::<Meter>();
        response.map(|body| Metered { body, meter, _work: work })
    }
}

impl http_body::Body for Metered {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        frame.map_ok(|frame| {
            frame.map_data(|bytes| {
                let meter = this.meter.clone();
                if let Some(meter) = &mut this.meter {
                    meter.at += bytes.len() as u64;
                }
                Piece { bytes, meter }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that say when they are taken.
pub(crate) struct Piece {
    bytes: Bytes,
    meter: Option<Meter>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        if let Some(meter) = &mut self.meter {
            let end = meter.at + taken as u64;
            (meter.count)(meter.at..end);
            meter.at = end;
            metrics::counter!("otaru_http_download_bytes_total").increment(taken as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::response::Response;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_and_not_taken_does_not_count() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&taken);
        let count = move |range: Range<u64>| into.lock().unwrap().push((range.start, range.end));
        let chunks = ["abcd", "efg", "hij"].map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk)));
        let mut response = Response::new(Body::from_stream(futures_util::stream::iter(chunks)));
        response.extensions_mut().insert(Meter::new(100, count));
        let mut body = Metered::new(response, None).into_body();
        let mut pieces = Vec::new();
        for _ in 0..3 {
            pieces.push(body.frame().await.unwrap().unwrap().into_data().unwrap_or_else(|_| panic!("data")));
        }
        assert_eq!(*taken.lock().unwrap(), [], "read, and nowhere yet");
        pieces[0].advance(3);
        pieces[0].advance(1);
        pieces[1].advance(2);
        drop((pieces, body));
        assert_eq!(*taken.lock().unwrap(), [(100, 103), (103, 104), (104, 106)]);
        assert_eq!(Arc::strong_count(&taken), 1, "whoever counts hears of the end");
    }
}
