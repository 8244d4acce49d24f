//! One deployment: one device being brought to one package, from queued to finished.
//!
//! Always true:
//! - A finished deployment never changes, but for notes of what arrived late: the truth, or the end of a download.
//! - `Installed` means the device itself announced the wanted version; 100 % is not proof.
//! - A report that carries a failure code is a failure, whatever version it names.
//! - Every unfinished state but `Queued` has a time at which it is looked at again.
//! - Within one session and attempt a notice is said at most once.
//!
//! Not here: which devices go next (`campaign::plan`), and how notices travel (`gateway`).

mod explain;
mod outcome;
#[cfg(test)]
mod properties;
mod state;
mod step;
#[cfg(test)]
mod stored_form;
#[cfg(test)]
mod stories;

pub use explain::{explain, failure};
pub use outcome::{Because, Label, Outcome, OutcomeKind};
pub use state::{Deployment, Doubt, Question, State, Underway};
pub use step::{Circumstances, Event, Say, Step, step};
