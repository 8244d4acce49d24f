//! What a command tells whoever started it, apart from the log.
//!
//! Always true: nothing here panics, as `println!` and `eprintln!` do when nobody listens any more or the disk is
//! full.

use std::fmt::Display;
use std::io::Write as _;

use anyhow::Context as _;

/// A line that the command was asked for, on stdout. Without it the command has failed.
pub(crate) fn out(line: impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("cannot write to stdout")
}

/// A line on stdout that nobody need hear.
pub(crate) fn shown(line: impl Display) {
    let _ = out(line);
}

/// A line on stderr. Nobody need hear it.
pub(crate) fn aside(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
