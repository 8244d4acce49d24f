//! The limits of the HTTP side, each with its reason.
//!
//! How large an artifact may be is the engine's to say: it owns the disk.

use std::time::Duration;

use crate::iotda::push::PushLimits;

/// Largest JSON body we read, in bytes.
///
/// The largest honest one is a campaign that names its devices: 30 000 ids of at most 128 bytes, quoted and
/// separated, are just under 4 MiB. More devices are chosen by product or tags.
pub const JSON_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest body of a call of the application API, in bytes: what the published pages allow a signed request. Read only of
/// callers that are known.
pub const APPLICATION_BODY_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Largest request for a token of the application API, in bytes; read before we know who is asking.
///
/// Names and a password are some hundred bytes, and what clients of the hosted service send beside them is below a few KiB.
pub const TOKEN_BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest line of an import, in bytes.
///
/// The longest honest one has 64 tags with keys and values of 128 characters of four bytes each, which are 64 KiB; twice
/// that leaves room for quoting. What is longer is answered with an error and not kept.
pub const IMPORT_LINE_BYTES_MAX: usize = 128 * 1024;

/// Bytes of lines that are registered in one transaction; how many lines at most is the engine's to say.
///
/// Lines of a usual length, some hundred bytes, never get there. It bounds what very long ones hold in memory.
pub const IMPORT_CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of answers that wait for the sender of an import to read them; past it, no more of its lines are read.
///
/// A sender that reads while it sends never has more than some KiB here. One that sends everything before it reads the
/// first answer gets through with a million lines, whose answers are 100 bytes each. Past that both would wait for each
/// other until the patience for writing is over.
pub const IMPORT_ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Imports at once. They share one place in the store, so that more would not be faster, and each may hold
/// [`IMPORT_ANSWER_BYTES_MAX`].
pub const IMPORTS_MAX: usize = 2;

/// Lines of an import that are looked at before others have their turn: below a millisecond, which a device that reports
/// does not notice.
pub const IMPORT_TURN_LINES: usize = 64;

/// Campaigns that one stream of live events can be narrowed to: more than a screen shows.
pub const EVENT_CAMPAIGNS_MAX: usize = 20;

/// After how long a stream of live events with nothing to tell says so. Proxies close what is silent for a minute.
pub const EVENTS_COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Largest request for a device's token, in bytes; read before we know who is asking.
///
/// A device id of 128 characters, a password of 64 and a timestamp are below 400 bytes; ten times that is generous.
pub const DEVICE_AUTH_BYTES_MAX: usize = 4 * 1024;

/// Children of a gateway in one report of properties over HTTP, as published.
pub const CHILDREN_REPORTED_MAX: usize = 50;

/// Largest request head we read, in bytes.
///
/// Devices send less than 1 KiB, a browser behind two proxies some 8 KiB; four times that is generous.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Header lines in a request. Browsers send about 20, and each proxy adds a few.
pub const HEAD_LINES_MAX: usize = 64;

/// How much of a connection's input is held in memory, in bytes.
///
/// Must exceed [`HEAD_BYTES_MAX`]; 64 KiB is also a good size for handing an upload on.
pub const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a package read from the store and handed to the socket at once.
///
/// Large enough that the trip to the disk costs little per byte, and small enough that every download at work
/// can hold one such chunk.
pub const DOWNLOAD_CHUNK_BYTES: usize = 256 * 1024;

/// Entries of a page when the caller does not say: a screenful.
pub const PAGE_DEFAULT: u32 = 50;

/// Entries of a page at most. A thousand deployments are some 500 KB of JSON.
pub const PAGE_MAX: u32 = 1000;

/// Ways to fail that are shown when the caller does not say: more than a screenful is no overview.
pub const FAILURES_DEFAULT: u32 = 50;

/// Ways to fail at most: seven outcomes with each of the twelve published codes are 84.
pub const FAILURES_MAX: u32 = 100;

/// Example devices of each when the caller does not say.
pub const EXAMPLES_DEFAULT: u32 = 5;

/// Example devices of each at most. Whoever wants all of them lists deployments by outcome and code.
pub const EXAMPLES_MAX: u32 = 20;

/// Longest request id we take from a caller. Longer than any tracing system's own.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// How long an upload or a JSON body may stand still between two of its parts.
///
/// A mobile link that was silent for a minute has usually lost the connection; the sender tries again.
pub const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// After how many seconds a caller is asked to try again when the store is out.
///
/// A store that recovers by itself does so within seconds; less would only add load.
pub const RETRY_AFTER_SECS: u64 = 5;

/// What an operator or a test may want otherwise. The defaults fit one small machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once, on all listeners together. The next one waits in the kernel's queue: devices take
    /// an answer of 429 or 503 for a failed upgrade, but do not mind a slow accept. Those that have no request under way
    /// and kept us waiting for a second do not count; past as many of them, the one that does so for longest is closed.
    ///
    /// A download holds a chunk of 256 KiB and the socket's buffers, so that 4 096 of them at work stay below
    /// 2 GB; idle connections hold a small part of that.
    pub connections_max: usize,
    /// How long a TLS handshake may take. Two round trips and a signature: twenty
    /// seconds are a device on a bad mobile link, more is nobody.
    pub handshake_patience: Duration,
    /// How long a request's head may take to arrive, and how long a connection may be idle between two requests.
    pub head_patience: Duration,
    /// How long a peer may take no byte of what we send. Devices write to flash between reads; five minutes of
    /// standing still is a device that is gone.
    pub write_patience: Duration,
    /// How long a shutdown waits for requests that are under way before it drops them.
    pub drain_patience: Duration,
    /// How patiently applications are told of changes.
    pub push: PushLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 4096,
            handshake_patience: Duration::from_secs(20),
            head_patience: Duration::from_secs(30),
            write_patience: Duration::from_secs(300),
            drain_patience: Duration::from_secs(20),
            push: PushLimits::default(),
        }
    }
}
