//! An upgrade that a device was told to make: what remains to be done, and what it is doing.
//!
//! Not here: talking to the platform (`session`).

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use otaru_proto::{FailureCode, Notice, ResultCode};
use tokio::time::{Instant, Sleep};

use crate::download::{DownloadError, Fetched};
use crate::script::{Named, Step};

/// What a device remembers of an upgrade, over reboots and lost links.
pub(super) struct Upgrade {
    /// What it was told.
    pub(super) notice: Notice,
    /// What remains; the first one is being done or comes next.
    pub(super) steps: VecDeque<Step>,
    /// How the first one is being done.
    pub(super) doing: Doing,
    /// When it was told.
    pub(super) since: Instant,
}

/// What a step waits for.
pub(super) enum Doing {
    /// It has not begun.
    Nothing,
    /// The acknowledgement of the publication with this id, on the present link.
    Saying(u16),
    /// The end of a pause.
    Pausing(Pin<Box<Sleep>>),
    /// A package.
    Fetching(Pin<Box<dyn Future<Output = Result<Fetched, DownloadError>> + Send>>),
}

/// What came to its end.
pub(super) enum Done {
    Pause,
    Fetch(Result<Fetched, DownloadError>),
}

impl Upgrade {
    pub(super) fn new(notice: Notice, steps: Vec<Step>) -> Upgrade {
        Upgrade { notice, steps: steps.into(), doing: Doing::Nothing, since: Instant::now() }
    }

    /// Whether a notice announces what this upgrade installs.
    pub(super) fn is_for(&self, notice: &Notice) -> bool {
        self.notice.version == notice.version && self.notice.sign == notice.sign
    }

    /// The first step is done.
    pub(super) fn next(&mut self) {
        self.steps.pop_front();
        self.doing = Doing::Nothing;
    }

    /// What was said on an old link and not acknowledged is to be said again.
    pub(super) fn take_up_again(&mut self) {
        if let Doing::Saying(_) = self.doing {
            self.doing = Doing::Nothing;
        }
    }

    /// Something went wrong that the script did not foresee: what remains is to say so.
    pub(super) fn give_up(&mut self, error: &DownloadError) {
        let (code, description) = if error.is_wrong_content() {
            (FailureCode::VerifyFailed, "package is not what was announced")
        } else {
            (FailureCode::DownloadTimeout, "package could not be fetched")
        };
        let report = Step::Report {
            code: ResultCode::Failed(code),
            progress: None,
            names: Named::Running,
            description,
        };
        self.steps = VecDeque::from([report]);
        self.doing = Doing::Nothing;
    }

    /// Whether a pause or a download has come to its end; never, if there is neither.
    pub(super) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        match &mut self.doing {
            Doing::Nothing | Doing::Saying(_) => Poll::Pending,
            Doing::Pausing(sleep) => sleep.as_mut().poll(cx).map(|()| Done::Pause),
            Doing::Fetching(fetch) => fetch.as_mut().poll(cx).map(Done::Fetch),
        }
    }
}
