"""What the platform promises, each as a function that raises `Broken` if it was not kept.

The first group looks at the store as the killed process left it, the second asks the HTTP API at the end, the third opens
the store once the server has been stopped. What can only be seen while it happens is in `ON_THE_WAY`.
"""

import collections
import sqlite3


class Broken(Exception):
    """A promise was broken. `promise` is the name of the check."""

    def __init__(self, promise, seen):
        super().__init__(f"{promise}: {seen}")
        self.promise, self.seen = promise, seen


# Seen by the devices and by the scenes while they go on.
ON_THE_WAY = {
    "no_notice_is_said_twice_in_a_session": "A device is told the same version at most once in one session.",
    "what_has_ended_is_not_begun_again": "A device whose last report was acknowledged is not told again.",
    "an_acknowledgement_answers_a_report": "Every PUBACK answers a report that was sent in that session and is not answered yet.",
    "it_starts_again": "After every kill the server starts again.",
    "it_stops_in_good_order": "SIGTERM ends the server with exit code 0.",
    "readyz_is_red_while_the_store_is_out": "/readyz turns red when the store cannot be written.",
    "it_recovers_without_a_restart": "/readyz turns green when the store can be written again.",
    "reports_are_acknowledged_again": "When the fault is over, reports are stored and acknowledged again.",
    "every_campaign_ends": "Whatever was interrupted goes on by itself until every campaign has ended.",
    "every_report_is_acknowledged": "In the end every report is acknowledged.",
    "the_kills_hit_something": "Of the run itself: at least half of the kills of a ready server find a report in flight.",
}


def sentence(promise):
    return ON_THE_WAY.get(promise) or globals()[promise].__doc__


def fail(check, seen):
    raise Broken(check.__name__, seen)


def some(things):
    """The first few, for people."""
    things = list(things)
    return f"{len(things)} in all: " + "; ".join(str(thing) for thing in things[:5])


# --- As the killed process left it: a copy of the store, taken before the next start --------------------------


CHECKED_ALWAYS_BYTES = 64 << 20


class Copy:
    """A copy of the store, and what is known from the copies before."""

    def __init__(self):
        self.stored, self.last, self.looked_at, self.checked = collections.Counter(), 0, 0, 0

    def open(self, path):
        self.bytes = path.stat().st_size
        self.store = sqlite3.connect(path)
        for seq, payload in self.store.execute("SELECT seq, payload FROM report WHERE seq > ? ORDER BY seq", (self.last,)):
            self.stored[bytes(payload).decode()] += 1
            self.last = seq


def what_was_acknowledged_is_stored(copy, fleet):
    """A report whose PUBACK was read is in the store that the killed process left behind, word for word."""
    new = fleet.acknowledged[copy.looked_at:]
    copy.looked_at += len(new)
    lost = [f"{device}: {payload}" for device, payload in new if not copy.stored[payload]]
    if lost:
        fail(what_was_acknowledged_is_stored, some(lost))


def counters_move_with_their_deployments(copy, fleet):
    """Whenever the process ends, each campaign's counters are what counting its deployments gives."""
    counted = set(copy.store.execute("SELECT campaign, label, count(*) FROM deployment GROUP BY campaign, label"))
    kept = set(copy.store.execute("SELECT campaign, label, n FROM campaign_count WHERE n > 0"))
    if counted != kept:
        fail(counters_move_with_their_deployments, f"only counted {some(counted - kept)}, only kept {some(kept - counted)}")


def what_was_left_is_whole(copy, fleet):
    """The store that the killed process left behind passes SQLite's own check."""
    copy.checked += 1
    if copy.bytes > CHECKED_ALWAYS_BYTES and copy.checked % 10:
        return  # a large one takes seconds, so that only every tenth is looked at
    found = copy.store.execute("PRAGMA quick_check").fetchall()
    if found != [("ok",)]:
        fail(what_was_left_is_whole, some(found))


AFTER_A_KILL = [what_was_acknowledged_is_stored, counters_move_with_their_deployments, what_was_left_is_whole]

# --- In the end, by the HTTP API ------------------------------------------------------------------------------


def devices_saw_nothing_that_must_not_be(stage):
    """What the devices watched for while it happened has not been seen: see `ON_THE_WAY`."""
    if stage.fleet.broken:
        promise, _ = stage.fleet.broken[0]
        raise Broken(promise, some(seen for name, seen in stage.fleet.broken if name == promise))


def acknowledged_reports_are_in_the_history(stage):
    """Every acknowledged report is in its device's history, word for word."""
    for device in stage.fleet.devices:
        history = collections.Counter(stage.history(device.id))
        lost = [payload for payload in device.acked if not history[payload]]
        if lost:
            fail(acknowledged_reports_are_in_the_history, f"{device.id}: {some(lost)}")


def the_history_has_nothing_else(stage):
    """A device's history has nothing that it did not send, and nothing more often than it was sent."""
    for device in stage.fleet.devices:
        more = collections.Counter(stage.history(device.id)) - device.sent
        if more:
            fail(the_history_has_nothing_else, f"{device.id}: {some(more.items())}")


def the_history_is_in_order(stage):
    """What a device said first comes first in its history."""
    for device in stage.fleet.devices:
        first = list(dict.fromkeys(stage.history(device.id)))
        said = {payload: place for place, payload in enumerate(device.sent)}
        if [said.get(payload, -1) for payload in first] != sorted(said.get(payload, -1) for payload in first):
            fail(the_history_is_in_order, f"{device.id}: {some(first)}")


def every_device_ended_as_it_behaved(stage):
    """Every deployment has the outcome, the result code and the version that follow from what its device did."""
    wrong = []
    by_id = {device.id: device for device in stage.fleet.devices}
    for number, campaign in enumerate(stage.campaigns):
        for row in stage.deployments(campaign):
            device = by_id[row["device_id"]]
            shown = row["outcome"], row["result_code"], row["reported_version"]
            due = device.ending(number)
            if shown != due:
                wrong.append(f"campaign {number}, {device.id}, {device.behaviour(number)}: {shown} instead of {due}")
    if wrong:
        fail(every_device_ended_as_it_behaved, some(wrong))


def every_device_runs_what_is_shown(stage):
    """The version shown of a device is the one it runs."""
    shown = {row["device_id"]: row["firmware_version"] for row in stage.listed("devices")}
    wrong = [f"{device.id} runs {device.version}, shown is {shown.get(device.id)}"
             for device in stage.fleet.devices if shown.get(device.id) != device.version]
    if wrong:
        fail(every_device_runs_what_is_shown, some(wrong))


def counters_equal_a_recount(stage):
    """A campaign's counters are what counting its deployments gives, and every device is in every campaign once."""
    for number, campaign in enumerate(stage.campaigns):
        counts = stage.api(f"campaigns/{campaign}")["counts"]
        rows = list(stage.deployments(campaign))
        recount = collections.Counter(row["outcome"] or row["state"] for row in rows)
        kept = {label: count for label, count in counts.items() if count and label != "total"}
        devices = {row["device_id"] for row in rows}
        if kept != dict(recount) or counts["total"] != len(rows) or len(rows) != len(devices) or len(rows) != len(stage.fleet.devices):
            fail(counters_equal_a_recount, f"campaign {number}: counters {kept}, recount {dict(recount)}")


def every_answer_of_the_api_is_remembered(stage):
    """Whatever the API said it made is there: campaigns, packages and devices."""
    for what, member, made in [("campaigns", "campaign_id", stage.campaigns), ("packages", "package_id", stage.packages),
                               ("devices", "device_id", [device.id for device in stage.fleet.devices])]:
        there = collections.Counter(row[member] for row in stage.listed(what))
        if there != collections.Counter(made):
            fail(every_answer_of_the_api_is_remembered, f"{what}: {some((there - collections.Counter(made)) + (collections.Counter(made) - there))}")


IN_THE_END = [devices_saw_nothing_that_must_not_be, acknowledged_reports_are_in_the_history, the_history_has_nothing_else,
              the_history_is_in_order, every_device_ended_as_it_behaved, every_device_runs_what_is_shown,
              counters_equal_a_recount, every_answer_of_the_api_is_remembered]

# --- Once the server has been stopped -------------------------------------------------------------------------


def the_store_is_sound(store):
    """The store passes SQLite's integrity check."""
    found = store.execute("PRAGMA integrity_check").fetchall()
    if found != [("ok",)]:
        fail(the_store_is_sound, some(found))


def nothing_is_in_quarantine(store):
    """No event had to be kept aside."""
    found = store.execute("SELECT device, error, payload FROM quarantine").fetchall()
    if found:
        fail(nothing_is_in_quarantine, some(found))


def nothing_is_left_to_say(store):
    """When every deployment has ended, the outbox has no word about any of them for a session that lives."""
    found = store.execute(
        "SELECT o.seq, o.say FROM outbox o JOIN device_state s ON s.device = o.via AND s.epoch = o.epoch").fetchall()
    if found:
        fail(nothing_is_left_to_say, some(found))


ONCE_STOPPED = [the_store_is_sound, nothing_is_in_quarantine, nothing_is_left_to_say]
