//! The numbers of a simulated device, each with its reason.

use std::time::Duration;

/// Keep alive of a device, in seconds: what six of the published SDKs send.
pub const KEEP_ALIVE_SECS: u16 = 120;

/// First pause before connecting again. The recommended profile of an agent backs off from one second.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);

/// Longest pause before connecting again: five minutes, from the same profile.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// Pause after a refusal that only a person can end (wrong password, not authorised).
///
/// Such a device does no good by trying again soon; the profile says "long", this is its longest.
pub const BACK_OFF_REFUSED: Duration = BACK_OFF_MAX;

/// How long a device waits for TCP, TLS and CONNACK together. A server under a storm of connects answers late.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a device waits for the PUBACK of a report before it gives the link up.
///
/// A platform whose store is out holds PUBACKs back; a device that waits longer than this would rather try
/// another link.
pub const PUBACK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a download may stand still before the device takes the link for dead.
pub const DOWNLOAD_STALL: Duration = Duration::from_secs(30);

/// How often a download is taken up again where it broke off.
pub const DOWNLOAD_TRIES: u32 = 4;

/// Largest package a simulated device takes: what the C SDK can, nine digits of length.
pub const PACKAGE_BYTES_MAX: u64 = 999_999_999;

/// Largest MQTT packet a device accepts. The largest notice is below 64 KiB, and a device has little memory.
pub const PACKET_BYTES_MAX: u32 = 128 * 1024;

/// Size of a link's read buffer: holds every version question and every notice without custom
/// information, so that one read takes one message. Longer ones take several.
pub const READ_BUFFER_BYTES: usize = 2 * 1024;

/// Connects of a crowd per second when nothing else is asked for.
///
/// One core does about 4 800 full TLS handshakes a second, plain ones five times as many; a crowd shares the
/// machine with what it tests.
pub const CONNECTS_PER_SEC: u32 = 500;

/// Connections of the load generator, at most: open files are commonly limited to 20 000 per process.
pub const LOAD_CONNECTIONS_MAX: usize = 19_000;

/// Reports in flight per connection, at most: packet ids have 16 bits, and one must be free to tell an
/// acknowledgement that is late from one that is wrong.
pub const LOAD_IN_FLIGHT_MAX: usize = 32_768;

/// Connects in progress at once while the load generator sets up. Listening sockets queue about this many.
pub const LOAD_CONNECTING_AT_ONCE: usize = 64;

/// Streams of the load generator that download at once, at most; each has a thread.
pub const LOAD_STREAMS_MAX: usize = 1_000;
