//! How the process ends. The numbers are part of the interface; scripts rely on them.

use std::process::ExitCode;

use otaru_store::{BackupError, StoreError};

use crate::config::Mistakes;
use crate::say;

/// Something failed; what, is on stderr.
pub(crate) const FAILURE: u8 = 1;

/// The command line or the configuration is wrong; nothing was started. Also what the command line parser uses.
pub(crate) const USAGE: u8 = 2;

/// Another server uses the data directory.
pub(crate) const IN_USE: u8 = 3;

/// `demo --exit` and `simulate --campaign`: the campaign ended, but not every device as its script says.
pub(crate) const UNTRUE: u8 = 4;

/// Prints an error with its causes, and says how to end for it.
pub(crate) fn of_error(error: &anyhow::Error) -> ExitCode {
    say::aside(format_args!("otaru: {}", chain(error.as_ref())));
    let code = if error.is::<Mistakes>() {
        USAGE
    } else if let Some(StoreError::Locked { .. }) = error.downcast_ref() {
        IN_USE
    } else if let Some(BackupError::Store(StoreError::Locked { .. })) = error.downcast_ref() {
        IN_USE
    } else {
        FAILURE
    };
    ExitCode::from(code)
}

/// An error with its causes, on one line unless it has several by itself.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some libraries repeat their source's text in their own.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
