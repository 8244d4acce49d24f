//! The log: structured, on stderr, as text or JSON.
//!
//! Always true: a line that cannot be written is lost, and nothing else is. A log whose reader has gone, or that
//! lies on a full disk, keeps no device waiting.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Lines of the log that could not be written.
const LINES_LOST: &str = "otaru_log_lines_lost_total";

/// Starts the log of this process. A second call changes nothing.
pub(crate) fn start(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lossy(io::stderr()))
        // It would say that a line could not be written with `eprintln!`, which panics for the same reason.
        .log_internal_errors(false);
    // An error says that somebody else has started it, as tests in one process do.
    let _ = match format {
        LogFormat::Text => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

/// Says in the metrics what cannot be said in the log. Once there is a recorder.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(LINES_LOST, "Lines of the log that could not be written.");
    metrics::counter!(LINES_LOST).increment(0);
}

/// Writes what can be written, and has no errors.
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    /// Takes everything at once: what comes in one call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.write_all(line).is_err() {
            metrics::counter!(LINES_LOST).increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for a few bytes more.
    struct Full<'a>(&'a mut [u8]);

    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.write(bytes) {
                Ok(0) => Err(io::ErrorKind::StorageFull.into()),
                other => other,
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn a_line_that_does_not_fit_is_lost_without_an_error() {
        let mut room = [0; 4];
        assert!(Full(&mut room).write_all(b"longer than that").is_err());
        let mut log = Lossy(Full(&mut room));
        assert_eq!(log.write(b"longer than that").unwrap(), 16);
        log.write_all(b"and another").unwrap();
        log.flush().unwrap();
        assert_eq!(&room, b"long");
    }
}
