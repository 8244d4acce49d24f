//! The limits of what one campaign may ask for, each with its reason.

/// Packages that one campaign can choose from. The published application API allows ten.
pub const CAMPAIGN_PACKAGES_MAX: usize = 10;

/// Automatic retries of one deployment. The published application API allows five.
pub const RETRIES_MAX: u32 = 5;

/// Longest pause before a retry, in seconds: 1 440 minutes, as in the published application API.
pub const RETRY_INTERVAL_SECS_MAX: u64 = 1_440 * 60;

/// Notices within one attempt: the first and two more after reconnects.
///
/// No device SDK drops a repeated notice, each one risks a second installation; three is the default of the
/// resend rule, and a device that forgot three notices will forget a fourth.
pub const NOTICES_PER_ATTEMPT_MAX: u32 = 3;

/// Version questions before silence counts as "does not answer".
///
/// The first may meet a device whose one thread is busy; a second is cheap, a third would only wait longer.
pub const QUESTIONS_MAX: u8 = 2;

/// Quiet time after a download request before a notice may be repeated, in milliseconds, unless set otherwise.
///
/// A request seen within the last minute means that the device may still be working on the first notice.
pub const DOWNLOAD_QUIET_MS: u64 = 60_000;

/// Pause between a reconnect in the middle of an upgrade and the question for the version, in milliseconds, unless
/// set otherwise.
///
/// Devices report by themselves right after connecting; five seconds let that report come first.
pub const SETTLE_UNDERWAY_MS: u64 = 5_000;

/// Between two looks whether a child of a busy gateway may be asked, in milliseconds.
///
/// A gateway answers a question in a second or so; five seconds let a good part of its fifty be answered, and ten thousand
/// children that wait cost two thousand rows a second at most.
pub const ASK_LATER_MS: u64 = 5_000;
