//! Configuration: the default file, a file, the environment and flags become one checked [`Config`].
//!
//! Always true:
//! - Later layers outrank earlier ones, key by key; each value remembers where it came from.
//! - [`check`](check::check) is the one place that judges, and it reports every mistake at once.
//! - The defaults are the embedded file `default-config.toml`; there is no second list of them.
//! - A key that nobody knows is a mistake, in a file as in the environment.
//!
//! Not here: reading flags (`cli`), and opening what is named (`platform`).

mod bucket;
mod check;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod keys;
mod raw;
mod url;
pub(crate) mod values;

pub(crate) use check::{Config, LogFormat, Secrets, check};
pub(crate) use keys::meant;
pub(crate) use raw::{Mistake, Mistakes, Origin, Raw};
pub(crate) use url::PublicUrl;

/// The documented default file, which is also the first layer.
pub(crate) const DEFAULT_FILE: &str = include_str!("../../default-config.toml");
