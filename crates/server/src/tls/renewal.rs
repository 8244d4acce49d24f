//! New certificates without a restart.
//!
//! Always true:
//! - What is presented is a whole pair that goes together: a file that cannot be used changes nothing.
//! - Files are read once they have been left alone for a look, so that one that is being written is not; a signal has
//!   them read at once.
//! - A file that cannot be used is warned of once, until it changes again or a signal asks for it.
//! - Connections and sessions that are open go on.

use std::convert::Infallible;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use otaru_engine::DeviceCa;
use tokio::signal::unix::Signal;

use super::{Pair, TlsError};
use crate::exit;

/// How often the files are looked at. A renewal is rarely awaited by anybody, and a look is three calls of the system.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// When the certificate is no longer valid.
const EXPIRES_AT: &str = "otaru_tls_certificate_expiry_timestamp_seconds";
/// Certificates that were read again, by what became of it.
const RELOADS: &str = "otaru_tls_reloads_total";

/// Everything that is read again.
pub(crate) struct Renewal {
    watched: Vec<Watched>,
}

/// Files that are of use together only.
struct Watched {
    what: What,
    /// As they were when they were read last.
    read: Vec<Seen>,
    /// As they were at the last look.
    seen: Vec<Seen>,
}

enum What {
    Pair(Pair),
    DeviceCa { file: PathBuf, ca: DeviceCa },
}

/// By what a file that has changed is known; `None`: it cannot be seen.
type Seen = Option<(u64, u64, u64, i64, i64)>;

impl Renewal {
    /// Of these, which have just been read. Once there is a recorder of metrics.
    pub(crate) fn new(pair: Option<Pair>, device_ca: Option<(PathBuf, DeviceCa)>) -> Renewal {
        metrics::describe_gauge!(
            EXPIRES_AT,
            "When the certificate that the listeners present is no longer valid, in seconds since 1970."
        );
        metrics::describe_counter!(RELOADS, "Certificates read again, by `of` and `outcome`.");
        let pair = pair.map(What::Pair);
        let device_ca = device_ca.map(|(file, ca)| What::DeviceCa { file, ca });
        let watched: Vec<Watched> = pair.into_iter().chain(device_ca).map(Watched::new).collect();
        for one in &watched {
            one.what.announce();
            for outcome in ["done", "failed"] {
                metrics::counter!(RELOADS, "of" => one.what.label(), "outcome" => outcome).increment(0);
            }
        }
        Renewal { watched }
    }

    /// Reads the files again when they have changed, and when the signal comes.
    pub(crate) async fn run(mut self, mut told: Signal) -> Infallible {
        loop {
            let at_once = tokio::select! {
                _ = told.recv() => true,
                () = tokio::time::sleep(LOOK_EVERY), if !self.watched.is_empty() => false,
            };
            if at_once && self.watched.is_empty() {
                tracing::info!("told to read certificates again, and none is configured");
            }
            // A file system that does not answer keeps this waiting, and nobody else.
            let looked = tokio::task::spawn_blocking(move || {
                self.watched.iter_mut().for_each(|one| one.look(at_once));
                self
            });
            self = match looked.await {
                Ok(renewal) => renewal,
                Err(error) => {
                    tracing::error!(%error, "reading certificates again has panicked; the present ones stay");
                    return std::future::pending().await;
                }
            };
        }
    }
}

impl Watched {
    fn new(what: What) -> Watched {
        let seen = what.see();
        Watched { what, read: seen.clone(), seen }
    }

    fn look(&mut self, at_once: bool) {
        let now = self.what.see();
        let is_still = now == self.seen;
        self.seen.clone_from(&now);
        if at_once || (is_still && now != self.read) {
            // As it was before it is read: what is written meanwhile is another change.
            self.read = now;
            self.what.renew();
        }
    }
}

impl What {
    fn label(&self) -> &'static str {
        match self {
            What::Pair(_) => "certificate",
            What::DeviceCa { .. } => "device_ca",
        }
    }

    fn see(&self) -> Vec<Seen> {
        match self {
            What::Pair(pair) => vec![see(&pair.cert), see(&pair.key)],
            What::DeviceCa { file, .. } => vec![see(file)],
        }
    }

    /// Reads it again, and says what became of it.
    fn renew(&self) {
        let outcome = match self.read() {
            Ok(()) => {
                let expires_at = self.announce();
                match self {
                    What::Pair(pair) => {
                        tracing::info!(file = %pair.cert.display(), expires_at, "new connections are shown this certificate");
                    }
                    What::DeviceCa { file, .. } => {
                        tracing::info!(file = %file.display(), "certificates of devices are held against these CAs");
                    }
                }
                "done"
            }
            Err(error) => {
                let file = self.blamed(&error);
                tracing::warn!(
                    file = %file.display(), error = exit::chain(&error),
                    "a certificate that was read again cannot be used; the one before stays"
                );
                "failed"
            }
        };
        metrics::counter!(RELOADS, "of" => self.label(), "outcome" => outcome).increment(1);
    }

    fn read(&self) -> Result<(), TlsError> {
        match self {
            What::Pair(pair) => pair.renew(),
            What::DeviceCa { file, ca } => ca.replace(&super::read_device_ca(file)?).map_err(TlsError::Ca),
        }
    }

    fn blamed(&self, error: &TlsError) -> &Path {
        match self {
            What::Pair(pair) if error.is_about_key() => &pair.key,
            What::Pair(pair) => &pair.cert,
            What::DeviceCa { file, .. } => file,
        }
    }

    /// Says in the metrics when it expires. Answers the same, in seconds since 1970.
    fn announce(&self) -> Option<i64> {
        let What::Pair(pair) = self else { return None };
        let expires_at = pair.expires_at()?;
        #[expect(clippy::cast_precision_loss, reason = "seconds are exact for millions of years")]
        metrics::gauge!(EXPIRES_AT).set(expires_at as f64);
        Some(expires_at)
    }
}

fn see(file: &Path) -> Seen {
    let mark = |is: Metadata| (is.dev(), is.ino(), is.size(), is.mtime(), is.mtime_nsec());
    std::fs::metadata(file).ok().map(mark)
}

#[cfg(test)]
mod tests {
    use super::super::{self_sign, server_tls};
    use super::*;
    use std::fs;

    /// A pair in `dir` that is being watched, and what is presented.
    fn watched(dir: &Path) -> (Watched, Pair) {
        let files = self_sign(&dir.join("tls"), &["a".into()]).unwrap();
        let pair = server_tls(&files.cert, &files.key).unwrap().pair;
        (Watched::new(What::Pair(pair.clone())), pair)
    }

    fn presented(pair: &Pair) -> Vec<u8> {
        pair.identity.current().cert[0].to_vec()
    }

    #[test]
    fn files_that_changed_are_read_when_they_are_left_alone_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watched, pair) = watched(dir.path());
        let old = presented(&pair);
        let new = self_sign(&dir.path().join("new"), &["a".into()]).unwrap();
        fs::rename(&new.key, &pair.key).unwrap();
        watched.look(false);
        fs::rename(&new.cert, &pair.cert).unwrap();
        watched.look(false);
        assert_eq!(presented(&pair), old, "it has changed since the last look");
        watched.look(false);
        assert_ne!(presented(&pair), old);
    }

    #[test]
    fn a_pair_that_does_not_go_together_changes_nothing_until_the_other_half_comes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watched, pair) = watched(dir.path());
        let old = presented(&pair);
        let new = self_sign(&dir.path().join("new"), &["a".into()]).unwrap();
        fs::copy(&new.cert, &pair.cert).unwrap();
        watched.look(true);
        assert_eq!(presented(&pair), old);
        fs::remove_file(&pair.key).unwrap();
        watched.look(true);
        assert_eq!(presented(&pair), old);
        fs::rename(&new.key, &pair.key).unwrap();
        watched.look(true);
        assert_ne!(presented(&pair), old);
    }

    #[test]
    fn a_device_ca_that_cannot_be_read_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| self_sign(&dir.path().join(name), &["a".into()]).unwrap());
        let ca = super::super::device_ca(&one.cert).unwrap();
        let mut watched = Watched::new(What::DeviceCa { file: one.cert.clone(), ca: ca.clone() });
        fs::write(&one.cert, "half a").unwrap();
        watched.look(true);
        assert_eq!(format!("{ca:?}"), "DeviceCa(1)");
        let both = [&two.cert, &two.cert].map(|file| fs::read_to_string(file).unwrap()).concat();
        fs::write(&one.cert, both).unwrap();
        watched.look(true);
        assert_eq!(format!("{ca:?}"), "DeviceCa(2)");
    }
}
