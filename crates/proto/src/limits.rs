//! Every limit of the wire, each with the place its number comes from.
//!
//! Lengths named `…_chars_max` count Unicode characters, `…_bytes_max` count bytes. Where a longer text
//! may still arrive it is cut at a character boundary; where it may not, parsing it is an error.

/// Longest device id, in characters.
///
/// Published with the device authentication API; the alphabet is ASCII, so these are bytes as well.
pub const DEVICE_ID_CHARS_MAX: usize = 128;

/// Longest MQTT client id, in characters.
///
/// Published with the connection authentication page. A well-formed one is shorter: the longest device id
/// and the 15 characters that follow it make 143.
pub const CLIENT_ID_CHARS_MAX: usize = 256;

/// Digits of the hour in a client id: `YYYYMMDDHH`.
pub const STAMP_DIGITS: usize = 10;

/// Largest event message we read, in bytes.
///
/// The published limit of one PUBLISH. A progress report is 200 to 400 bytes; the room is for log reports
/// on the same topic, whose content alone may reach this size and which must cost nobody the connection.
pub const UPLINK_BYTES_MAX: usize = 1024 * 1024;

/// Largest downlink an agent reads, in bytes.
///
/// The published advice is to keep one below 64 KiB, and the longest notice we send stays below that: 16 KiB
/// of `custom_info` in four-byte characters, and some kilobytes of URL, token and names. Agents take twice the
/// advice before they refuse.
pub const DOWNLINK_BYTES_MAX: usize = 128 * 1024;

/// Deepest nesting of objects and lists, the envelope counting as one.
///
/// A report needs four levels and a module list six. The rest is for what vendors put into `paras`; the
/// bound exists so that a message of brackets cannot eat a stack.
pub const DEPTH_MAX: usize = 32;

/// Most events in one message.
///
/// No known device puts more than a handful into one (the Go SDK batches its logs). A megabyte could
/// otherwise hold 350 000 empty ones.
pub const SERVICES_MAX: usize = 256;

/// Longest version text, in characters.
///
/// The published limit of a package version on the application side.
pub const VERSION_CHARS_MAX: usize = 256;

/// Longest `description` of a progress report that is kept, in characters.
///
/// The published page names no limit. The samples send a few words; a kilobyte holds a short stack trace,
/// which is the longest thing an operator reads in a table, and keeps a day of reports from a failing
/// device small.
pub const DESCRIPTION_CHARS_MAX: usize = 1024;

/// Longest `service_id` or `event_type` that is kept for showing, in characters.
///
/// The longest published one is `sub_device_update_status_response` with 33.
pub const NAME_CHARS_MAX: usize = 64;

/// Longest `event_id` that is kept, in characters.
///
/// The platform makes ids of 36 characters; a gateway chooses its own.
pub const EVENT_ID_CHARS_MAX: usize = 128;

/// Longest `event_time` in a form we do not know, in characters.
///
/// The longest form seen, `2025-04-14T01:02:03.456Z`, has 24.
pub const EVENT_TIME_CHARS_MAX: usize = 40;

/// How much of an unusable value an error quotes, in characters.
pub const FOUND_CHARS_MAX: usize = 64;

/// Longest unusable `object_device_id` that is kept for the log, in characters: as long as a usable one.
pub const SUBJECT_CHARS_MAX: usize = DEVICE_ID_CHARS_MAX;

/// Most modules of one version report that are kept.
///
/// The application side allows ten custom modules per product.
pub const MODULES_MAX: usize = 10;

/// Longest module name, in characters; published on the application side.
pub const MODULE_NAME_CHARS_MAX: usize = 64;

/// Largest number in any downlink member.
///
/// The C# and Java SDKs read `file_size`, `expires` and `sub_device_count` into 32-bit signed integers.
pub const DOWNLINK_INT_MAX: u64 = i32::MAX as u64;

/// Longest `custom_info` of a notice, in characters; published with the upgrade notice.
pub const CUSTOM_INFO_CHARS_MAX: usize = 4096;

/// Longest `task_ext_info`, in characters of its JSON text; published on the application side.
pub const TASK_EXT_CHARS_MAX: usize = 512;

/// Characters of a SHA-256 in hexadecimal. The C SDK skips its check for any other length.
pub const SIGN_CHARS: usize = 64;

/// Longest MQTT topic or filter, in bytes: its length is a 16-bit number.
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Most children in one request of a gateway to register or delete them; published.
pub const CHILDREN_PER_REQUEST_MAX: usize = 50;

/// Most children in one status report of a gateway; published.
pub const CHILD_STATUSES_MAX: usize = 100;

/// Most children in one message that tells a gateway who its children are.
///
/// As many as a gateway may register at once, so that whoever can read the answer to that can read this. A child takes
/// some 600 bytes with the longest ids and a usual name, which keeps the message below 32 KiB.
pub const CHILDREN_PER_MESSAGE_MAX: usize = 50;

/// Most children in one batch of properties on MQTT; published.
pub const CHILDREN_PER_BATCH_MAX: usize = 100;

/// Most children in one batch of properties over HTTP; published.
pub const CHILDREN_PER_HTTP_BATCH_MAX: usize = 50;

/// Largest report of properties, in bytes; published as 64 KB.
pub const PROPERTIES_BYTES_MAX: usize = 64 * 1024;

/// Most services in one report of properties. The application side allows 500 services a product; a device that
/// reports them all at once has 130 bytes for each.
pub const PROPERTY_SERVICES_MAX: usize = 500;

/// Longest line of a device's log that is kept, in characters.
///
/// Published as up to 1 MB. Four kilobytes hold a long stack trace, and a full ring of such lines stays below half a
/// megabyte a device.
pub const LOG_CONTENT_CHARS_MAX: usize = 4096;

/// Longest SDK version that is kept, in characters. The longest seen has 13.
pub const SDK_VERSION_CHARS_MAX: usize = 64;

/// Longest name of a device that is read from a gateway, in characters; published on the application side.
pub const PERSONAL_NAME_CHARS_MAX: usize = 256;

/// Longest file name of a file request that is repeated in its answer, in characters.
pub const FILE_NAME_CHARS_MAX: usize = 256;
