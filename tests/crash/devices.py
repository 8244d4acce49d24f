"""Simulated devices for the crash test: each keeps what a device keeps in its flash, and what the platform owes it.

A device reports over one MQTT connection, one report at a time has to be acknowledged before the next step is taken,
reports that are not acknowledged are sent again after a reconnect, in order and word for word. What it was asked to
do survives the loss of the link, as it would on a device that writes down its steps. Packages are not downloaded.

What each device did, and which of its reports were acknowledged, is what `promises.py` holds the platform to.
"""

import asyncio
import collections
import hashlib
import hmac
import json
import random

SECRET, STAMP = "crash-test-secret", "2026010100"
FIRST_VERSION, CLAIMED_VERSION = "1.0.0", "0.0.0-claimed"

# Share of the behaviours; each device draws one per campaign.
SHARES = {
    "succeeds": 20, "reboots": 14, "old_version_first": 12, "already_latest": 8, "lies": 5, "silent": 3,
    "fails_1": 3, "fails_2": 3, "fails_3": 3, "fails_4": 3, "fails_5": 3, "fails_6": 3, "fails_7": 3, "fails_8": 3,
    "fails_9": 3, "fails_10": 3, "fails_255": 3, "fails_77": 2,
}
# The device's part is over before the platform has decided; it cannot know when it has.
OPEN_ENDED = ("lies", "silent", "fails_3")


def version_of(campaign):
    return f"2.0.{campaign}"


def number_of(version):
    return int(version.rsplit(".", 1)[1])


# --- MQTT 3.1.1 in a few lines ---------------------------------------------------------------------------------


def packet(first, body):
    length, digits = len(body), b""
    while True:
        digit, length = length % 128, length // 128
        digits += bytes([digit | (128 if length else 0)])
        if not length:
            return bytes([first]) + digits + body


def text(value):
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def connect_packet(device):
    password = hmac.new(STAMP.encode(), SECRET.encode(), hashlib.sha256).hexdigest()
    body = text("MQTT") + b"\x04\xc2" + (120).to_bytes(2, "big")
    return packet(0x10, body + text(f"{device}_0_0_{STAMP}") + text(device) + text(password))


async def read_packet(reader):
    first = (await reader.readexactly(1))[0]
    length, shift = 0, 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 127) << shift
        shift += 7
        if not digit & 128:
            return first, await reader.readexactly(length)


# --- The devices -----------------------------------------------------------------------------------------------


class Report:
    """Something a device has said, or has still to say. `ends` is the campaign that is over once it is acknowledged."""

    def __init__(self, payload, ends=None):
        self.payload, self.ends = payload, ends
        self.acknowledged = asyncio.get_running_loop().create_future()


class Fleet:
    """All devices, and what happened to them that matters beyond one of them."""

    def __init__(self, seed, count):
        self.seed = seed
        self.address = None                  # of the server's MQTT listener, as of its last start
        self.campaigns = 0                   # how many were asked for
        self.acknowledged = []               # (device, payload), in the order in which the PUBACKs were read
        self.broken = []                     # (promise, what was seen)
        self.notices = self.notices_again = self.connects = 0
        self.devices = [Device(self, f"crash_{number:03}") for number in range(count)]

    def begin(self):
        self.lives = [asyncio.ensure_future(device.live()) for device in self.devices]
        self.lives += [asyncio.ensure_future(device.work()) for device in self.devices]

    async def end(self):
        for life in self.lives:
            life.cancel()
        await asyncio.gather(*self.lives, return_exceptions=True)

    def look_after(self):
        """A device that stumbles over its own program proves nothing about the platform."""
        for life in self.lives:
            if life.done():
                life.result()

    def in_flight(self):
        return sum(len(device.flying) for device in self.devices)

    def waiting(self):
        return sum(len(device.waiting) for device in self.devices)

    def busy(self):
        newest = self.campaigns - 1
        return sum(1 for device in self.devices if device.job is not None or device.handled < newest)


class Device:
    def __init__(self, fleet, device_id):
        self.fleet, self.id = fleet, device_id
        self.hello = connect_packet(device_id)
        self.random = random.Random(f"{fleet.seed}/{device_id}/pauses")
        self.drawn = []                      # behaviours, by campaign
        self.version = FIRST_VERSION         # what it runs
        self.ran_before = {}                 # campaign: what it ran when it was told, or asked
        self.handled = -1                    # the last campaign it has heard of
        self.job = None                      # the campaign it is at work for
        self.boots_into = None               # the campaign whose version runs after the next loss of the link
        self.todo = asyncio.Queue()
        self.over = set()                    # campaigns whose last report was acknowledged
        self.sent = collections.Counter()    # payload: how often it went out
        self.acked = []                      # payloads
        self.waiting = collections.deque()   # reports that are not acknowledged
        self.flying = {}                     # packet id: report, in this session
        self.said = 0
        self.writer = None

    def behaviour(self, campaign):
        while len(self.drawn) <= campaign:
            draw = random.Random(f"{self.fleet.seed}/{self.id}/{len(self.drawn)}")
            drawn = draw.choices(list(SHARES), list(SHARES.values()))[0]
            if drawn == "already_latest" and self.drawn and self.drawn[-1] in (*OPEN_ENDED, "already_latest"):
                drawn = "succeeds"           # it could not tell which of the two campaigns asks
            if drawn == "silent" and "silent" in self.drawn:
                drawn = "succeeds"           # once is enough: the campaigns after it wait until its time is over
            self.drawn.append(drawn)
        return self.drawn[campaign]

    # --- The link ----------------------------------------------------------------------------------------------

    async def live(self):
        back_off = 0.05
        while True:
            self.off_for, told, link = 0.0, set(), None
            try:
                reader, link = await asyncio.open_connection(*self.fleet.address)
                link.write(self.hello)
                first, body = await asyncio.wait_for(read_packet(reader), 10)
                if first != 0x20 or body[1] != 0:
                    raise ConnectionError(f"refused with {body[1]}")
                self.fleet.connects += 1
                self.writer, self.next_id, back_off = link, 1, 0.05
                for report in self.waiting:
                    self.send(report)
                while True:
                    self.hear(*await read_packet(reader), told)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                pass
            if link:
                link.close()
            self.writer, self.flying = None, {}
            if self.boots_into is not None:
                self.boot()
            await asyncio.sleep(self.off_for or self.random.uniform(0.5, 1) * back_off)
            back_off = min(back_off * 2, 0.8)

    def send(self, report):
        if self.writer is None or self.writer.is_closing():
            return                           # with the next session
        packet_id, self.next_id = self.next_id, self.next_id % 60_000 + 1
        self.flying[packet_id] = report
        self.sent[report.payload] += 1
        head = text(f"$oc/devices/{self.id}/sys/events/up") + packet_id.to_bytes(2, "big")
        self.writer.write(packet(0x32, head + report.payload.encode()))

    def say(self, event_type, paras, ends=None):
        """What it says is told apart from everything else it says by `event_id`."""
        self.said += 1
        service = {"service_id": "$ota", "event_type": event_type, "event_id": f"{self.id}-{self.said}", "paras": paras}
        report = Report(json.dumps({"object_device_id": self.id, "services": [service]}), ends)
        self.waiting.append(report)
        self.send(report)
        return report

    def hear(self, first, body, told):
        if first >> 4 == 4:
            self.hear_acknowledgement(int.from_bytes(body[:2], "big"))
        elif first >> 4 == 3:
            end = 2 + int.from_bytes(body[:2], "big")
            if first & 6:
                self.writer.write(b"\x40\x02" + body[end:end + 2])
                end += 2
            service = json.loads(body[end:])["services"][0]
            if service["event_type"] == "version_query":
                self.hear_query()
            elif service["event_type"] == "firmware_upgrade":
                self.hear_notice(number_of(service["paras"]["version"]), told)

    def hear_acknowledgement(self, packet_id):
        report = self.flying.pop(packet_id, None)
        if report is None:
            self.fleet.broken.append(("an_acknowledgement_answers_a_report", f"{self.id} got PUBACK {packet_id} for nothing"))
            return
        self.waiting.remove(report)
        self.acked.append(report.payload)
        self.fleet.acknowledged.append((self.id, report.payload))
        if report.ends is not None:
            self.over.add(report.ends)
            self.handled = max(self.handled, report.ends)
            self.leave(report.ends)
        report.acknowledged.set_result(None)

    def hear_query(self):
        if self.boots_into is not None or any(report.ends == self.job for report in self.waiting if report.ends is not None):
            # Busy installing, or with its last word: such devices answer nothing. An answer after the last word could be
            # taken for one to the next campaign, since a question does not say which campaign asks.
            return
        following, ends = self.handled + 1, None
        if self.job is None and following < self.fleet.campaigns and self.behaviour(following) == "already_latest":
            self.ran_before.setdefault(following, version_of(following))
            self.version, ends = version_of(following), following
        self.say("version_report", {"fw_version": self.version}, ends)

    def hear_notice(self, campaign, told):
        self.fleet.notices += 1
        if campaign in told:
            self.fleet.broken.append(("no_notice_is_said_twice_in_a_session", f"{self.id} was told {version_of(campaign)} twice"))
        told.add(campaign)
        if campaign in self.over:
            self.fleet.broken.append(("what_has_ended_is_not_begun_again",
                                      f"{self.id} was told {version_of(campaign)} after its last report was acknowledged"))
        if campaign <= self.handled:
            self.fleet.notices_again += 1    # in a later session, because it answered that it runs something else
            return
        self.handled = campaign
        self.ran_before[campaign] = self.version
        if self.behaviour(campaign) != "silent":
            self.job = campaign
            self.todo.put_nowait(campaign)

    # --- The work ----------------------------------------------------------------------------------------------

    async def work(self):
        while True:
            campaign = await self.todo.get()
            behaviour = self.behaviour(campaign)
            if behaviour.startswith("fails_"):
                await self.fail(campaign, int(behaviour[6:]))
                continue
            await self.progress(10)
            await self.pause()
            await self.progress(50)
            await self.pause()
            if behaviour == "succeeds":
                self.install(campaign)
            elif behaviour == "reboots":
                await self.progress(90)
                self.boots_into = campaign
                await self.reboot()
            elif behaviour == "old_version_first":
                self.boots_into = campaign   # whenever the link goes, from here on
                await self.progress(100)
                await self.pause()
                await self.reboot()
            elif behaviour == "lies":
                await self.progress(100, CLAIMED_VERSION)
                self.leave(campaign)
                continue
            await self.last_report.acknowledged

    async def fail(self, campaign, code):
        if code in (2, 6, 7, 8, 9, 10, 255):
            await self.progress(10)
            await self.pause()
        if code in (7, 8, 10):
            await self.progress(50)
        await self.pause()
        names = version_of(campaign) if code in (4, 7, 10) else self.version  # as the C and C# samples do
        paras = {"result_code": code, "version": names, "description": f"no, because of {code}"}
        # Code 3 is asked about, so that the end comes with the answer.
        await self.say("upgrade_progress_report", paras, campaign if code != 3 else None).acknowledged
        self.leave(campaign)

    def leave(self, campaign):
        if self.job == campaign:
            self.job = None

    async def progress(self, percent, names=None):
        paras = {"result_code": 0, "progress": percent, "version": names or self.version, "description": "x" * 80}
        await self.say("upgrade_progress_report", paras).acknowledged

    async def pause(self):
        await asyncio.sleep(self.random.uniform(0.02, 0.4))

    async def reboot(self):
        """The link goes, and with the next one the new version runs. It may have happened already."""
        if self.boots_into is None:
            return
        if self.writer:
            self.off_for = self.random.uniform(0.1, 0.5)
            self.writer.close()              # `live` goes on from here
            while self.boots_into is not None:
                await asyncio.sleep(0.01)
        else:
            self.boot()

    def boot(self):
        campaign, self.boots_into = self.boots_into, None
        self.install(campaign)

    def install(self, campaign):
        """The new version runs; the report about it is the next thing the platform hears."""
        self.version = version_of(campaign)
        paras = {"result_code": 0, "progress": 100, "version": self.version}
        self.last_report = self.say("upgrade_progress_report", paras, campaign)

    # --- What the platform has to say about it -----------------------------------------------------------------

    def ending(self, campaign):
        """(outcome, result code, version) of the deployment, by what the device did."""
        behaviour = self.behaviour(campaign)
        target, before = version_of(campaign), self.ran_before.get(campaign)
        if behaviour in ("succeeds", "reboots", "old_version_first"):
            return "installed", 0, target
        if behaviour == "already_latest":
            return "already_installed", None, target
        if behaviour == "lies":
            return "version_mismatch", 0, before
        if behaviour == "silent":
            return "timed_out", None, before
        return "failed", int(behaviour[6:]), before
