//! The limits of the engine, each with its reason.

use std::time::Duration;

/// Characters of the name of an OTA module, of what people call it, and of what is said about it: as published.
pub const MODULE_NAME_CHARS_MAX: usize = 64;
/// See [`MODULE_NAME_CHARS_MAX`].
pub const MODULE_ALIAS_CHARS_MAX: usize = 64;
/// See [`MODULE_NAME_CHARS_MAX`].
pub const MODULE_DESCRIPTION_CHARS_MAX: usize = 1_024;

/// Characters of the name of a resource space: as of other names.
pub const SPACE_NAME_CHARS_MAX: usize = 64;

/// How long a token is good that an application gets for its access key: as published, a day.
pub const APPLICATION_TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Devices that one search looks at because their status depends on who is connected: as many as a list counts, some 100 ms
/// of a reader.
pub const SEARCH_LOOKS_MAX: u32 = 10_000;

/// Of those, at once: between two of them others have their turn.
pub const SEARCH_CHUNK: u32 = 500;

/// Deployments of a campaign that are walked over for a device that was deleted: some 100 ms of a reader.
pub const GONE_LOOKED_AT: u64 = 100_000;

/// Events in one batch.
///
/// 8 192 events took 70 ms in the measured store at its slowest shape (one row per device), so that a batch
/// stays well below the shortest timer, and larger ones no longer make the commit cheaper per event.
pub const BATCH_EVENTS_MAX: usize = 8_192;

/// Payload bytes waiting for their batch, of all sessions together.
///
/// 64 MiB are 200 000 reports of 330 bytes, more than a second's worth; beyond it, sockets are not read.
pub const INBOX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Devices in one batch that the platform looks at by itself, because they can be reached now or may go now: the least.
///
/// Each may be let go: a step, a line of the outbox, and soon an answer, some 100 µs of the store in all. Reports wait for
/// their batch meanwhile: with 8 the p99 of others' reports is two and a half to three times that of quiet times while ten
/// thousand devices are told, some 6 500 a second (`bench/million`); with 16 it was three times, and 7 700 a second.
pub const LOOKS_PER_BATCH: usize = 8;

/// How long one such look counts, with what follows from it. A batch takes as many as are done in the time of everything else
/// in it, so that a slow disk, which makes reports wait anyway, does not make campaigns wait as well.
///
/// Twice what was measured: where looks take longer than they count, what follows from them would be taken for the disk's time.
pub const LOOK_TIME: Duration = Duration::from_micros(250);

/// Devices in one batch that the platform looks at by itself: the most. What they lead to is some 40 ms.
pub const LOOKS_PER_BATCH_MAX: usize = 256;

/// Looks that wait before whoever makes many of them waits: two chunks of a campaign that is filled, so that its connected
/// devices are let go before it is filled further.
pub const LOOKS_WAITING_MAX: usize = 2 * FILL_CHUNK as usize;

/// Sessions that begin or end in one batch, for each look in it: each costs a fraction of one, and 64 in a batch are more
/// than can connect in the time it takes.
pub const COMINGS_PER_LOOK: usize = 8;

/// Deployments woken in one batch.
///
/// When a campaign of a million comes to the end of its patience, they are due all at once.
pub const DUE_PER_BATCH: u32 = 200;

/// Packages whose objects are read at the same time: one that is large, or in a store that is slow, holds up few others, and
/// the disk writes one after another anyway.
pub const READ_AT_ONCE_MAX: usize = 3;

/// When an object is looked for again that could not be read: after the first time, and at most so much later after others.
pub const READ_AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// How often packages to be read are looked for without a reason: in case one was missed.
pub const READ_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Devices added to a campaign in one transaction.
///
/// A report waits for one of them at most, about a millisecond; a million deployments are made in 7.5 s (`bench/million`).
pub const FILL_CHUNK: u32 = 200;

/// Deployments that an operator stops or retries in one transaction.
///
/// Each costs the look-ups of a report and a row that moves, some 50 µs: a few milliseconds, for which reports wait.
pub const ACT_CHUNK: u32 = 50;

/// Stops and retries of one campaign that wait to be done.
///
/// They are done one after the other; who asks for more than sixteen at once asks in a loop.
pub const ACTIONS_WAITING_MAX: usize = 16;

/// Devices registered in one transaction of an import.
///
/// A million devices take 15 s with it, and the p99 of reports is some three times that of quiet times (`bench/import`). With
/// 500 it was 12 s and ten times.
pub const IMPORT_CHUNK: usize = 100;

/// How long an import waits for a store that is out before it gives up. Longer than a disk that was full for a moment
/// takes to recover; the sender has its own patience.
pub const IMPORT_OUTAGE_PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at the wall clock for campaigns that start by themselves: it may have jumped.
pub const SCHEDULE_CHECK_EVERY: Duration = Duration::from_secs(5);

/// Campaigns that start by themselves in one transaction: more than anybody plans for one minute.
pub const STARTED_AT_ONCE_MAX: u32 = 100;

/// How long ago the start of a campaign may be when it is set, in milliseconds: it then starts at once.
///
/// A minute is what a person's clock may be off, or a request on its way; who names an older time has made a mistake.
pub const START_PAST_MS_MAX: i64 = 60_000;

/// How far ahead the start of a campaign may be, in milliseconds: 366 days. Beyond it, it is a mistake in the year.
pub const START_AHEAD_MS_MAX: i64 = 366 * 86_400_000;

/// Children of one gateway looked at in one go.
pub const CHILDREN_CHUNK: u32 = 200;

/// Open version questions to children of one gateway, through one session.
///
/// A gateway answers for its children one after the other; with more questions than it answers in three minutes
/// the last ones would time out through nobody's fault. 50 leaves it more than three seconds for each.
pub const CHILDREN_ASKED_MAX: usize = 50;

/// Age at which an open question to a child no longer counts against its gateway.
///
/// Twice the two times three minutes in which it is answered or given up; its end has been missed then.
pub const QUESTION_LIFE: Duration = Duration::from_secs(720);

/// Lines in the audit log that one session can cause. Enough to see what it tries; the metrics count all of it.
pub const AUDITS_PER_SESSION_MAX: u32 = 16;

/// How long it is remembered what a device that speaks over HTTP has caused in the audit log, after its last request.
///
/// It has no session that would end, and an hour is longer than the usual time between two reports.
pub const HTTP_AUDITS_REMEMBERED: Duration = Duration::from_secs(3600);

/// Requests of one device over HTTP: a second for long, and at once. As many as messages over MQTT.
pub const HTTP_RATE: (u32, u32) = (50, 200);

/// Refused connections remembered, by the name they came under. An hour of a misconfigured batch of devices.
pub const REFUSED_MAX: usize = 1_000;

/// Refusals logged line by line in one [`REFUSALS_LOGGED_WINDOW`].
///
/// Enough to see who and why. A thousand connections that guess without pause are refused two thousand times a second,
/// which would be 30 GB of log a day; so it is below 100 MB.
pub const REFUSALS_LOGGED_MAX: u32 = 50;

/// How long refusals are counted together for the log. Short enough to still see an attack change.
pub const REFUSALS_LOGGED_WINDOW: Duration = Duration::from_secs(10);

/// Part of a rejected payload that is kept in the device's history.
pub const REJECTED_PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// Largest artifact: C devices parse at most nine digits of `Content-Length`.
pub const ARTIFACT_BYTES_MAX: u64 = 999_999_999;

/// Free bytes that uploads leave on the disk, so that reports do not suffer first.
pub const DISK_RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// Entries in a list that names devices one by one. The published application API allows 30 000.
pub const LISTED_DEVICES_MAX: usize = 30_000;

/// Characters of a name, for people.
pub const NAME_CHARS_MAX: usize = 256;

/// Characters of a description, for people: some lines of text.
pub const DESCRIPTION_CHARS_MAX: usize = 1_024;

/// Groups that one campaign is for; the store's limit.
pub const CAMPAIGN_GROUPS_MAX: usize = otaru_store::limits::CAMPAIGN_GROUPS_MAX;

/// Tags of one device.
pub const TAGS_MAX: usize = 64;

/// Characters of a tag's key or value.
pub const TAG_CHARS_MAX: usize = 128;

/// Characters of `custom_info`, as in the published notice.
pub const CUSTOM_INFO_CHARS_MAX: usize = 4_096;

/// Source versions of one package, as in the published application API.
pub const SOURCE_VERSIONS_MAX: usize = 20;

/// Characters of a file name. Short enough for every file system and for a response head of 4 095 bytes.
pub const FILE_NAME_CHARS_MAX: usize = 128;

/// Bytes of a device secret. The published range is 8 to 32; longer ones are allowed for other platforms' keys.
pub const SECRET_BYTES_MAX: usize = 256;

/// Between two heartbeats. A crash costs deadlines at most this much.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// Between two looks at the store for a deadline that nobody told us of.
pub const WAKE_CHECK_EVERY: Duration = Duration::from_secs(1);

/// First and longest pause before a failed batch is tried again.
pub const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a batch may wait for the store before the store counts as out.
///
/// A synced write takes milliseconds, and the largest write of anybody else, which may be before it, less than a second.
/// Five seconds are a disk that hangs.
pub const STORE_SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long deadlines rest after one that cannot be processed. Long enough that the search for it costs little,
/// short against the shortest timer of the published platform.
pub const DUE_REST: Duration = Duration::from_secs(10);

/// Answers to one message. A device asks one thing at a time; a message could hold 256 questions.
pub const ANSWERS_PER_MESSAGE_MAX: usize = 16;

/// Children of one gateway that it may register by itself, as published. Whoever registers them is a device, so that there
/// has to be an end.
pub const CHILDREN_PER_GATEWAY_MAX: u64 = 50_000;

/// How often a child of a gateway may come and go, in children it may have, before it may register no more by itself.
///
/// Each leaves a row and two lines in the audit log, some kilobyte, of which nothing is taken back: 20 bound what one
/// gateway can do to a gigabyte. A hundred sensors that are replaced every day take 27 years to get there.
pub const CHILDREN_TURNOVER_MAX: u64 = 20;

/// Children that come and go in one batch: what one message can name, which is written in some 50 ms.
///
/// Everybody's reports are in the same batch. Whoever registers more has the rest in the next ones.
pub const CHILDREN_CHANGED_PER_BATCH: usize = ANSWERS_PER_MESSAGE_MAX * otaru_proto::CHILDREN_PER_REQUEST_MAX;

/// Characters of a node id, as in the native API.
pub const NODE_ID_CHARS_MAX: usize = 64;

/// Changes of a gateway's children read from the store in one go: four messages of 50.
pub const TOPOLOGY_CHUNK: u32 = 200;

/// Gateways that are told about their children at the same time, and gateways whose children are looked for.
///
/// A gateway that has lost everything and has 50 000 children is told in a thousand messages of 30 KB, each read from
/// the store and made into JSON. Sixteen at a time leave the readers to others, and what is on the way is two megabytes.
pub const TOLD_AT_ONCE_MAX: usize = 16;

/// Separate parts of one package that are remembered as served.
///
/// SDKs ask for a package from its beginning or from where they stopped; a downloader of several streams asks for some
/// eight at once. 64 parts are a kilobyte, and bound what somebody who asks for every second byte can cost.
pub const COVERAGE_PARTS_MAX: usize = 64;

/// Deployments whose downloads are remembered; past it, those that are quiet are forgotten.
///
/// An entry is some 200 bytes, with the usual one part, so that this is 50 MB; a deployment that ends takes its entry
/// with it. What was forgotten costs a progress display and makes "fetched or not?" unknown, nothing else.
pub const DOWNLOADS_REMEMBERED_MAX: usize = 250_000;

/// How long a quiet download is remembered: the 24 h of the published upgrade timer, and the rest of an hour.
pub const DOWNLOAD_REMEMBERED: Duration = Duration::from_secs(25 * 3_600);

/// Characters of the request id of a question for a shadow, which is repeated in a topic. SDKs send a UUID of 36.
pub const REQUEST_ID_CHARS_MAX: usize = 128;

/// Runs of a campaign on one device that are shown. Each was asked for by an operator; who needs more than twenty looks at
/// the audit log.
pub const RUNS_SHOWN: u32 = 20;

/// Deployments read at once for a list of results: some 10 ms of one reader, and some 200 KB until they are sent.
pub const RESULTS_CHUNK: u32 = 500;

/// Result codes in one question for deployments; the store's limit.
pub const CODES_MAX: usize = otaru_store::limits::CODES_MAX;

/// Rows forgotten in one transaction.
///
/// As many as a campaign is filled with at once, for the same reason: reports wait for them.
pub const FORGET_CHUNK: u32 = 200;

/// Rest between two such transactions, so that reports come in between. With it at most 40 000 rows a second are forgotten.
pub const FORGET_PAUSE: Duration = Duration::from_millis(5);

/// How often it is looked for what has become old. Much shorter than anything is kept.
pub const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// How long the wall clock must have gone evenly before anything counts as old.
///
/// A clock that jumps ahead by years, as one without a battery does, would otherwise make everything old at once. A clock
/// that is corrected after the start is corrected within the hour before the first look.
pub const CLOCK_TRUSTED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How much the wall clock may differ from an even one between two looks.
pub const CLOCK_DRIFT_MAX: Duration = Duration::from_secs(300);

/// Age from which bytes that no artifact has are taken away: far longer than an upload takes between its bytes and its row.
pub const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Campaigns or artifacts looked at in one go while forgetting.
pub const FORGET_PAGE: u32 = 100;

/// Bytes of an upload after which it is asked again how full the disk is. A small part of what is kept free.
pub const DISK_LOOKED_AT_EVERY: u64 = 16 * 1024 * 1024;

/// How long changes are put together before the live feed tells them. Shorter is not seen sooner by people, and costs a look
/// at the counters of each campaign that moved.
pub const FEED_EVERY: Duration = Duration::from_millis(300);

/// Events of the live feed that are remembered for those who come back: some minutes with a few campaigns at work. Each is
/// below a kilobyte.
pub const FEED_REMEMBERED: usize = 1024;

/// How long the live feed goes on after the last listener has gone, for one that comes back.
pub const FEED_UNHEARD_FOR: Duration = Duration::from_secs(120);

/// Listeners to the live feed. Each holds a connection; a team with a dashboard on every desk is below it.
pub const LISTENERS_MAX: usize = 100;

/// When one listener too many may try again.
pub const LISTENERS_RETRY: Duration = Duration::from_secs(5);

/// How long a ticket is good: from the answer with it to the request with it, in a browser.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);

/// Tickets that are out at once. As many listeners as there may be ask for one ten times within its life.
pub const TICKETS_MAX: usize = 1_000;
