//! What can happen in a play, told in words for people and in numbers for the fingerprint.

use bytes::Bytes;

use crate::world::{LinkId, Mail};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    SwitchOn(usize),
    Arrives {
        link: LinkId,
        ticket: u16,
        payload: Vec<u8>,
    },
    Hears {
        link: LinkId,
        payload: Bytes,
    },
    HearsAcknowledgement {
        link: LinkId,
        ticket: u16,
    },
    Cut(LinkId),
    CutSomeday(usize),
    Woken {
        device: usize,
        wake: u64,
    },
    Crash {
        turns: u32,
        down: u64,
    },
    Fail(u32),
    Stall(u64),
    Resume,
    Jump(i64),
    Operator(OperatorDoes),
    /// The operator tries again what was not done.
    OperatorInsists,
    Calm,
    Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OperatorDoes {
    Pause,
    Resume,
    Cancel,
    BeginSecond,
    Stop(Option<usize>),
    Retry(Option<usize>),
    Confirm(Option<usize>),
}

impl OperatorDoes {
    fn number(self) -> u64 {
        let which = |device: Option<usize>| device.map_or(0, |device| device as u64 + 1);
        match self {
            OperatorDoes::Pause => 0,
            OperatorDoes::Resume => 1,
            OperatorDoes::Cancel => 2,
            OperatorDoes::BeginSecond => 3,
            OperatorDoes::Stop(device) => 4 | which(device) << 8,
            OperatorDoes::Retry(device) => 5 | which(device) << 8,
            OperatorDoes::Confirm(device) => 6 | which(device) << 8,
        }
    }
}

impl Event {
    /// Which kind it is, and something that tells it from others of its kind.
    pub(crate) fn number(&self) -> (u64, u64) {
        match self {
            Event::SwitchOn(device) => (1, *device as u64),
            Event::Arrives { link, ticket, .. } => (2, link.0 << 16 | u64::from(*ticket)),
            Event::Hears { link, payload } => (3, link.0 << 16 | payload.len() as u64),
            Event::HearsAcknowledgement { link, ticket } => (4, link.0 << 16 | u64::from(*ticket)),
            Event::Cut(link) => (5, link.0),
            Event::CutSomeday(device) => (6, *device as u64),
            Event::Woken { device, wake } => (7, (*device as u64) << 32 | wake),
            Event::Crash { turns, down } => (8, u64::from(*turns) << 32 | down),
            Event::Fail(times) => (9, u64::from(*times)),
            Event::Stall(span) => (10, *span),
            Event::Resume => (11, 0),
            Event::Jump(by) => (12, by.unsigned_abs()),
            Event::Operator(does) => (13, does.number()),
            Event::OperatorInsists => (16, 0),
            Event::Calm => (14, 0),
            Event::Look => (15, 0),
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Event::Arrives { link, ticket, payload } => {
                format!("link {} says {ticket}: {}", link.0, String::from_utf8_lossy(payload))
            }
            Event::Hears { link, payload } => format!("link {} hears {} bytes", link.0, payload.len()),
            Event::SwitchOn(_)
            | Event::HearsAcknowledgement { .. }
            | Event::Cut(_)
            | Event::CutSomeday(_)
            | Event::Woken { .. }
            | Event::Crash { .. }
            | Event::Fail(_)
            | Event::Stall(_)
            | Event::Resume
            | Event::Jump(_)
            | Event::Operator(_)
            | Event::OperatorInsists
            | Event::Calm
            | Event::Look => format!("{self:?}"),
        }
    }
}

impl Mail {
    pub(crate) fn number(&self) -> u64 {
        match self {
            Mail::Up(epoch) => 1 | epoch.0.unsigned_abs() << 8,
            Mail::Refused(_) => 2,
            Mail::Acknowledged(ticket) => 3 | u64::from(*ticket) << 8,
            Mail::Said(payload) => 4 | (payload.len() as u64) << 8,
            Mail::Closed => 5,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Mail::Up(epoch) => format!("is session {}", epoch.0),
            Mail::Refused(why) => format!("is refused: {why}"),
            Mail::Acknowledged(ticket) => format!("is acknowledged {ticket}"),
            Mail::Said(payload) => format!("is told {}", String::from_utf8_lossy(payload)),
            Mail::Closed => "is closed".to_owned(),
        }
    }
}
