//! The limits of the store, each with its reason.

/// Services of one device whose last properties are kept; of others, nothing is.
///
/// As many as one report may hold, so that a device that reports all of its services at once is kept whole.
pub const PROPERTY_SERVICES_KEPT: u32 = 500;

/// Bytes of one device's services and their last properties that are kept, names included.
///
/// As many as one report may hold, again so that a device that reports everything at once is kept whole; a shadow is
/// answered with all of it, and a gateway may have 50 000 children. A service for which there is no room is not kept
/// at all: what it said earlier would be taken for the last.
pub const PROPERTY_BYTES_KEPT: usize = 64 * 1024;

/// Lines of one device's log that are kept; the oldest make room.
///
/// With lines of four kilobytes, which is the most that is read of one, they stay below half a megabyte a device.
pub const LOG_LINES_KEPT: u32 = 100;

/// Resource spaces, with the default one: as many as published. Every list of an application reads them all.
pub const SPACES_MAX: u64 = 10;

/// OTA modules of a product: as many as published.
pub const MODULES_MAX: u64 = 10;

/// Rules by which applications are told. Each costs a look at every change of its subject.
pub const PUSH_RULES_MAX: u64 = 100;

/// Where to one rule tells.
pub const PUSH_ACTIONS_MAX: u64 = 10;

/// Notifications kept of those that an application did not take, for each action. The oldest go first.
pub const DEAD_LETTERS_MAX: u32 = 1_000;

/// Groups in one project. A person looks for a group by its name; who needs more of them has tags.
pub const GROUPS_MAX: u64 = 10_000;

/// Groups that one device is in, all shown with it; as many as a device has tags.
pub const GROUPS_OF_DEVICE_MAX: u64 = 64;

/// Members of one group. Nothing that is done with a group holds all of them in memory or in one transaction, so that it
/// is as large as the fleet that is meant.
pub const GROUP_MEMBERS_MAX: u64 = 1_000_000;

/// Groups that one campaign is for. Each is a range of the index that is walked beside the others.
pub const CAMPAIGN_GROUPS_MAX: usize = 10;

/// Result codes in one question for deployments. More than the published table has, together with "no code".
///
/// Each is a range of the index for each of seven outcomes, and SQLite takes 500 ranges in one statement.
pub const CODES_MAX: usize = 16;

/// Leaps from one device to another within one step of making a campaign's deployments, where it chooses by tags.
///
/// A leap takes up to three microseconds, so that a step in which hardly any device has all the tags holds up reports no
/// longer than one in which all have.
pub const LEAPS_MAX: u32 = 5_000;

/// Alternatives of a search for devices: each is a bit of the answer.
pub const ALTERNATIVES_MAX: usize = 8;

/// Campaigns counted for a total that no counter has. As many as the index of names gives in a millisecond or two.
pub const COUNTED_MAX: u32 = 10_000;

/// Reports of a device looked at for one page of those that belonged to a campaign.
///
/// They hang on each other by device, so that later reports are walked over to get at those of an older campaign: some
/// microseconds each. Whoever wants the page after asks again.
pub const REPORTS_LOOKED_AT: u32 = 2_000;

/// Pages of 4 KiB copied between two looks at whether a copy may go on: some milliseconds of a disk.
pub const COPY_PAGES: i32 = 1_024;

/// How many times its limit the write-ahead log may become while the store is copied; then the copy is given up.
///
/// It cannot start over meanwhile. With the limit as it is by default this is 1 GiB: a store of tens of gigabytes under
/// full load.
pub const COPY_LOG_FACTOR: u64 = 4;

/// The least by which the number of runs grows with a restore, should the clock be wrong.
pub const RUNS_SKIPPED_MIN: i64 = 100_000;

/// The most, for a backup of any age: epochs are 63 bits, and half of them are for the sessions of one run.
pub const RUNS_SKIPPED_MAX: i64 = 100_000_000;

/// Copies of the store from before its schema was changed that are kept: for going back one release, and one more should
/// the mistake be found late. Each is as large as the store.
pub const COPIES_KEPT: usize = 2;
