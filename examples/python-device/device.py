#!/usr/bin/env python3
"""A device that can be upgraded: the device side of the IoTDA protocol in one file, to copy from.

It connects, says which versions it runs, and when it is told to upgrade it downloads the package, checks it, installs
it, reboots and says how that went. Read it from `Device.run` on; replace `Machine` by what your hardware is.

Three threads, and each has one task:
  the MQTT thread   belongs to paho; it only puts what happened into the inbox, so that it is never blocked
  the main thread   takes from the inbox and decides; it alone changes what is remembered and publishes
  a worker          downloads and installs, for as long as that takes, and puts how it goes into the inbox

Always true:
- What has to survive a loss of power is on disk before anything is done or said: the upgrade under way, and its end
  until the platform has acknowledged it.
- Nothing is installed that does not have the announced size and SHA-256.
- The same package is not installed twice, however often it is announced.
- An upgrade counts as done when the device has started again and runs the new version, not before.
"""
import argparse
import errno
import hashlib
import hmac
import http.client
import json
import os
import queue
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

KEEP_ALIVE_SECS = 120           # the platform accepts 30 to 1200 and recommends this
RECONNECT_SECS_MAX = 300
SILENCE_SECS_MAX = 30           # neither answer nor bytes for so long: the connection is lost
RETRY_SECS_MAX = 60             # between two tries to go on with a download
CHUNK_BYTES = 16 * 1024
BATTERY_PERCENT_MIN = 20
MEMORY_BYTES_MIN = 4 * 1024 * 1024
DOWNLOADED_PERCENT = 90         # what of the progress is the download; the rest is the installation

# What a failure is called on the wire.
IN_USE, POOR_SIGNAL, ALREADY_LATEST, LOW_BATTERY, NO_STORAGE, DOWNLOAD_TIMEOUT = 1, 2, 3, 4, 5, 6
VERIFY_FAILED, UNSUPPORTED, NO_MEMORY, INSTALL_FAILED, INTERNAL = 7, 8, 9, 10, 255
REASONS = {
    IN_USE: "the device is in use", POOR_SIGNAL: "the signal is too poor", ALREADY_LATEST: "already the latest version",
    LOW_BATTERY: "the battery is low", NO_STORAGE: "not enough storage", DOWNLOAD_TIMEOUT: "the download took too long",
    VERIFY_FAILED: "the package is not what was announced", UNSUPPORTED: "this type of package is not supported",
    NO_MEMORY: "not enough memory", INSTALL_FAILED: "the installation failed", INTERNAL: "internal error",
}

# The four ways to be told; the ones ending in _v2 come with a signed URL instead of a token.
NOTICES = {"firmware_upgrade": "firmware", "firmware_upgrade_v2": "firmware",
           "software_upgrade": "software", "software_upgrade_v2": "software"}


class Failed(Exception):
    """The upgrade ends here, with this result code."""

    def __init__(self, code, why):
        super().__init__(why)
        self.code = code


# --- The wire -----------------------------------------------------------------------------------------------


def credentials(device_id, secret):
    """Client id and password. The hour is the key and the secret is the message, not the other way round.

    The second 0 of the client id says that the hour is not compared with a clock, so they stay good for reconnects.
    """
    hour = datetime.now(timezone.utc).strftime("%Y%m%d%H")
    password = hmac.new(hour.encode(), secret.encode(), hashlib.sha256).hexdigest()
    return f"{device_id}_0_0_{hour}", password


def event(about, event_type, paras, service_id="$ota"):
    """One event about one device, as it travels."""
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return {"object_device_id": about, "services": [
        {"service_id": service_id, "event_type": event_type, "event_time": now, "paras": paras}]}


def read_notice(event_type, paras):
    """What an upgrade notice says. Only four members are needed; platforms leave others out."""
    sign = str(paras["sign"]).lower()
    if len(sign) != 64:
        raise ValueError(f"sign {sign!r} is no SHA-256; 64 hexadecimal digits are accepted")
    size = int(paras["file_size"])
    if size < 1:
        raise ValueError(f"file_size {size}; at least 1 is accepted")
    return {"kind": NOTICES[event_type], "version": str(paras["version"]), "url": str(paras["url"]),
            "size": size, "sign": sign, "token": paras.get("access_token"),
            "file_name": str(paras.get("file_name") or "package")}


# --- What is remembered -------------------------------------------------------------------------------------


class Memory:
    """What survives a reboot: for each device that is spoken for, its versions and its upgrade.

      firmware, software   the versions that run
      task                 the upgrade under way: the notice and its stage (downloading, rebooting), or None
      ending               the last report of an upgrade, until the platform has acknowledged it, or None
      last                 the notice that was carried out last, with how it ended
    """

    def __init__(self, folder):
        self.folder = folder
        self.path = os.path.join(folder, "state.json")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        try:
            with open(self.path, encoding="utf-8") as file:
                self.devices = json.load(file)
        except FileNotFoundError:
            self.devices = {}

    def of(self, device_id, version):
        new = {"firmware": version, "software": version, "task": None, "ending": None, "last": None}
        return self.devices.setdefault(device_id, new)

    def save(self):
        """All or nothing: a loss of power leaves the old file or the new one."""
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # it holds tokens
            json.dump(self.devices, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.path + ".new", self.path)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def package(self, device_id):
        return os.path.join(self.folder, device_id + ".package")

    def forget_package(self, device_id):
        for path in (self.package(device_id), self.package(device_id) + ".etag"):
            if os.path.exists(path):
                os.remove(path)


# --- The machine: replace this ------------------------------------------------------------------------------


class Machine:
    """The hardware, as far as upgrades care. This one is a computer that pretends."""

    def __init__(self, settings):
        self.settings = settings

    def is_in_use(self):
        return os.path.exists(os.path.join(self.settings.folder, "in-use"))

    def battery_percent(self):
        """100 where there is no battery."""
        try:
            with open(self.settings.battery, encoding="utf-8") as file:
                return int(file.read())
        except FileNotFoundError:
            return 100

    def free_storage(self):
        return shutil.disk_usage(self.settings.folder).free - self.settings.keep_free

    def free_memory(self):
        try:
            with open("/proc/meminfo", encoding="utf-8") as file:
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
        except (FileNotFoundError, StopIteration):
            return MEMORY_BYTES_MIN

    def accepts(self, file_name):
        accepted = self.settings.accepts
        return not accepted or file_name.lower().endswith(tuple("." + end for end in accepted.lower().split(",")))

    def install(self, path, version, progress):
        """Installs the package at `path`. Call `progress` with 0 to 100 now and then. To fail, raise `Failed`.

        It may be called again with the same package: after a loss of power in the middle, for example.
        """
        if self.settings.install:
            done = subprocess.run([self.settings.install, path, version], check=False)
            if done.returncode != 0:
                raise Failed(INSTALL_FAILED, f"{self.settings.install} ended with {done.returncode}")
            return
        for percent in range(0, 100, 10):
            progress(percent)
            time.sleep(self.settings.install_secs / 10)


# --- An upgrade ---------------------------------------------------------------------------------------------


class Upgrade(threading.Thread):
    """One upgrade of one device, from the notice to the reboot. Says into the inbox how it goes.

    It begins again wherever it was interrupted: what is there of the package already is not fetched again.
    """

    def __init__(self, device, about, notice):
        super().__init__(daemon=True)
        self.device = device
        self.settings = device.settings
        self.machine = device.machine
        self.about = about
        self.notice = notice        # replaced by the main thread when the platform sends a new address
        self.path = device.memory.package(about)
        self.said = -1

    def run(self):
        try:
            self.drop_at(0)
            time.sleep(self.settings.begin_after)
            self.prepare()
            self.fetch()
            self.verify()
            self.may_fail(INSTALL_FAILED)
            self.machine.install(self.path, self.notice["version"], self.installing)
            self.may_fail(INTERNAL)
            self.device.tell("installed", self.about)
        except Failed as failed:
            self.device.tell("failed", self.about, failed.code, str(failed))
        except MemoryError:
            self.device.tell("failed", self.about, NO_MEMORY, REASONS[NO_MEMORY])
        except Exception as error:  # whatever it is, the platform should not have to wait a day for it
            self.device.tell("failed", self.about, INTERNAL, f"{type(error).__name__}: {error}")

    def may_fail(self, code):
        """Here an upgrade could end with `code`, and does if --fail asks for it."""
        if self.settings.fail == code:
            raise Failed(code, f"{REASONS[code]} (--fail {code})")

    def require(self, holds, code, why=None):
        """Ends the upgrade with `code` unless this holds."""
        self.may_fail(code)
        if not holds:
            raise Failed(code, why or REASONS[code])

    def prepare(self):
        """Everything that can be known before the first byte."""
        notice, machine = self.notice, self.machine
        self.require(not machine.is_in_use(), IN_USE)
        battery = machine.battery_percent()
        self.require(battery >= BATTERY_PERCENT_MIN, LOW_BATTERY, f"battery at {battery} %, {BATTERY_PERCENT_MIN} % needed")
        self.require(machine.accepts(notice["file_name"]), UNSUPPORTED, f"cannot install {notice['file_name']}")
        self.require(machine.free_memory() >= MEMORY_BYTES_MIN, NO_MEMORY)
        missing, free = notice["size"] - self.have(), machine.free_storage()
        self.require(free >= missing, NO_STORAGE, f"{missing} bytes needed, {free} free")

    # Fetching

    def have(self):
        try:
            return os.path.getsize(self.path)
        except FileNotFoundError:
            return 0

    def fetch(self):
        """Until all bytes are there. A broken connection is taken up where it broke."""
        deadline = time.monotonic() + self.settings.download_secs
        size, tries = self.notice["size"], 0
        if self.have() > size:
            os.remove(self.path)
        self.may_fail(POOR_SIGNAL)
        self.may_fail(DOWNLOAD_TIMEOUT)
        while self.have() < size:
            before = self.have()
            try:
                self.fetch_some(before, deadline)
                why = "the server closed the connection early"
            except (OSError, http.client.HTTPException) as error:  # timeouts and TLS errors are OSErrors
                if getattr(error, "errno", None) == errno.ENOSPC:
                    raise Failed(NO_STORAGE, f"the disk was full after {self.have()} of {size} bytes") from error
                why = f"{type(error).__name__}: {error}"
            if self.have() >= size:
                break
            tries = tries + 1 if self.have() <= before else 0
            self.device.log(f"{self.about}: download broke at {self.have()} of {size} bytes ({why})")
            if time.monotonic() > deadline:
                raise Failed(DOWNLOAD_TIMEOUT, f"{self.have()} of {size} bytes in {self.settings.download_secs:g} s")
            if tries >= self.settings.tries:
                raise Failed(POOR_SIGNAL, f"{self.have()} of {size} bytes, then {tries} times nothing: {why}")
            time.sleep(min(2 ** tries, RETRY_SECS_MAX))

    def fetch_some(self, start, deadline):
        """One request, for what is missing from `start` on."""
        notice = self.notice
        url = urlsplit(notice["url"])
        headers = {"Content-Type": "application/json"}
        if notice["token"]:
            headers["Authorization"] = f"Bearer {notice['token']}"
        etag = self.etag()
        if start and etag:
            headers["Range"] = f"bytes={start}-"
            headers["If-Range"] = etag  # other bytes by now: the server sends all of them
        if url.scheme == "https":
            link = http.client.HTTPSConnection(url.hostname, url.port, timeout=SILENCE_SECS_MAX,
                                               context=self.settings.tls_context())
        else:
            link = http.client.HTTPConnection(url.hostname, url.port, timeout=SILENCE_SECS_MAX)
        try:
            link.request("GET", (url.path or "/") + ("?" + url.query if url.query else ""), headers=headers)
            answer = link.getresponse()
            if answer.status == 206:
                begin = answer.getheader("Content-Range", "")
                if not begin.startswith(f"bytes {start}-"):
                    raise http.client.HTTPException(f"bytes from {start} on were asked for, {begin!r} came")
                self.device.log(f"{self.about}: download goes on at byte {start}")
            elif answer.status == 200:
                start = 0
            elif answer.status >= 500:
                raise http.client.HTTPException(f"the server answered {answer.status}")
            else:
                raise Failed(DOWNLOAD_TIMEOUT, f"the server answered {answer.status} {answer.reason}")
            self.keep(answer, start, deadline)
        finally:
            link.close()

    def keep(self, answer, start, deadline):
        """Appends what comes to the file, from `start` on; a new one begins with the name of its bytes."""
        size = self.notice["size"]
        with open(self.path, "r+b" if start else "wb") as file:
            have = file.seek(start)
            if start == 0:
                with open(self.path + ".etag", "w", encoding="utf-8") as name:
                    name.write(answer.getheader("ETag") or "")
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                have += len(chunk)
                if have > size:
                    raise Failed(VERIFY_FAILED, f"more than the announced {size} bytes came")
                percent = have * DOWNLOADED_PERCENT // size
                self.progress(percent, "downloading")
                if self.drop_at(percent):
                    raise ConnectionResetError("dropped (--drop-at)")
                if time.monotonic() > deadline:
                    return
            file.flush()
            os.fsync(file.fileno())

    def etag(self):
        """The name that the server gave the bytes we have a part of. A weak one (W/) is none."""
        try:
            with open(self.path + ".etag", encoding="utf-8") as file:
                etag = file.read()
        except FileNotFoundError:
            return None
        return etag if etag.startswith('"') else None

    def verify(self):
        digest = hashlib.sha256()
        with open(self.path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        self.require(digest.hexdigest() == self.notice["sign"], VERIFY_FAILED,
                     f"SHA-256 is {digest.hexdigest()}, {self.notice['sign']} was announced")

    # Telling

    def installing(self, percent):
        percent = DOWNLOADED_PERCENT + percent * (100 - DOWNLOADED_PERCENT) // 100
        self.progress(percent, "installing")
        self.drop_at(percent)

    def progress(self, percent, doing):
        """Every tenth is enough to tell, and while installing every one."""
        percent = min(percent, 99)  # 100 is said by the version that is new
        if percent // 10 > self.said // 10 or (percent > self.said and percent > DOWNLOADED_PERCENT):
            self.said = percent
            self.device.tell("progress", self.about, percent, doing)

    def drop_at(self, percent):
        """Loses the connection, once, if --drop-at asks for it."""
        if self.settings.drop_at is None or percent < self.settings.drop_at:
            return False
        self.settings.drop_at = None
        self.device.drop_link()
        return True


# --- The device ---------------------------------------------------------------------------------------------


class Device:
    """From one start to the next: everything in here is forgotten in a reboot, except for `memory`."""

    def __init__(self, settings):
        self.settings = settings
        self.machine = Machine(settings)
        self.memory = Memory(settings.folder)
        self.id = settings.device
        for device_id in self.subjects():
            self.memory.of(device_id, settings.version)
        self.memory.save()
        self.inbox = queue.SimpleQueue()  # a signal handler may put into it too
        self.upgrades = {}          # device id: Upgrade
        self.said_last = {}         # number of the message: device id whose ending it carries
        self.up = f"$oc/devices/{self.id}/sys/events/up"
        self.down = f"$oc/devices/{self.id}/sys/events/down"
        self.mqtt = self.client()

    def subjects(self):
        """Whom we speak for: ourselves, and as a gateway our children."""
        return [self.id] + self.settings.children

    def client(self):
        client_id, password = credentials(self.id, self.settings.secret)
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
        client.username_pw_set(self.id, password)
        if self.settings.tls:
            client.tls_set_context(self.settings.tls_context())
        # Not all at the same moment, when a whole fleet lost its platform.
        client.reconnect_delay_set(random.uniform(1, 2), RECONNECT_SECS_MAX)
        client.on_connect = lambda c, u, flags, reason, p: self.tell("connected", reason)
        client.on_disconnect = lambda c, u, flags, reason, p: self.tell("disconnected", reason)
        client.on_publish = lambda c, u, mid, reason, p: self.tell("acknowledged", mid)
        client.on_message = lambda c, u, message: self.tell("heard", message.payload)
        return client

    def run(self):
        """Until a reboot (True) or the end (False)."""
        self.wake_up()
        self.mqtt.connect_async(self.settings.host, self.settings.port, KEEP_ALIVE_SECS)
        self.mqtt.loop_start()
        goes_on = None
        while goes_on is None:
            what, *about = self.inbox.get()
            goes_on = getattr(self, "on_" + what)(*about)
        self.mqtt.disconnect()
        self.mqtt.loop_stop()
        return goes_on

    def tell(self, what, *about):
        """Puts something into the inbox; `on_{what}` will be called by the main thread."""
        self.inbox.put((what, *about))

    def wake_up(self):
        """What was under way when the lights went out?"""
        for about in self.subjects():
            mind = self.memory.devices[about]
            task = mind["task"]
            if task is None:
                continue
            if task["stage"] == "rebooting":
                self.log(f"{about}: started with {task['kind']} {mind[task['kind']]}")
                if mind[task["kind"]] == task["version"]:
                    self.end(about, 0, "upgraded")
                else:
                    self.end(about, INSTALL_FAILED, f"started with {mind[task['kind']]}, not with {task['version']}")
            else:
                self.log(f"{about}: going on with {task['version']}")
                self.begin(about)

    # What happened on the link

    def on_connected(self, reason):
        if reason.is_failure:
            self.log(f"refused: {reason}")  # paho tries again, more and more slowly
            return
        self.log("connected")
        self.mqtt.subscribe(self.down, qos=1)  # IoTDA platforms need no subscription, other brokers do
        # A gateway whose children come and go says here who they are (add_sub_device_request) and whether
        # they are there (sub_device_update_status), both with service_id $sub_device_manager.
        for about in self.subjects():
            if about not in self.said_last.values():
                self.say_ending(about)
            self.say_versions(about)

    def on_disconnected(self, reason):
        self.log(f"disconnected: {reason}")

    def on_acknowledged(self, message_id):
        """The platform has it: the ending need not be said again."""
        about = self.said_last.pop(message_id, None)
        if about is not None and about not in self.said_last.values():
            self.memory.devices[about]["ending"] = None
            self.memory.save()

    def on_heard(self, payload):
        """Several events may come in one message; what we do not understand is nothing to stumble over."""
        try:
            message = json.loads(payload)
            about = message.get("object_device_id") or self.id
            events = [(e["service_id"], e["event_type"], e.get("paras") or {}) for e in message.get("services") or []]
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            self.log(f"cannot read {payload[:200]!r}: {error}")
            return
        if about not in self.subjects():
            self.log(f"not for us: {about}")
            return
        for service_id, event_type, paras in events:
            if service_id != "$ota":
                continue
            self.log(f"< {event_type} for {about}")
            if event_type == "version_query":
                self.say_versions(about)
            elif event_type in NOTICES:
                try:
                    notice = read_notice(event_type, paras)
                except (KeyError, ValueError, TypeError) as error:
                    self.say_progress(about, NOTICES[event_type], INTERNAL, 0, f"cannot read the notice: {error!r}")
                    continue
                self.noticed(about, notice)

    # What happens to an upgrade

    def noticed(self, about, notice):
        """A notice has no number by which to recognise a repetition, so package and address have to do."""
        mind = self.memory.devices[about]
        task, last, kind = mind["task"], mind["last"], notice["kind"]
        running = mind[kind]
        same = lambda other, *members: other is not None and all(other[m] == notice[m] for m in ("kind", *members))
        if same(task, "version", "sign"):
            self.log(f"{about}: told again of {notice['version']}, which is under way")
            task.update(url=notice["url"], token=notice["token"])  # the new address may be the only good one
            self.memory.save()
            if about in self.upgrades:
                self.upgrades[about].notice = notice
        elif task is not None:
            self.say_progress(about, kind, IN_USE, 0, f"the upgrade to {task['version']} is under way")
        elif same(last, "version", "sign") and last["code"] == 0 and running == notice["version"]:
            self.log(f"{about}: told again of {notice['version']}, which runs")
            self.say_progress(about, kind, 0, 100, last["description"])
        elif same(last, "version", "sign", "url", "token"):
            self.log(f"{about}: told again of {notice['version']}, which failed")
            self.say_progress(about, kind, last["code"], 0, last["description"])
        elif running == notice["version"] or self.settings.fail == ALREADY_LATEST:
            self.say_progress(about, kind, ALREADY_LATEST, 0, REASONS[ALREADY_LATEST])
        else:
            self.memory.forget_package(about)  # what is left of another one
            mind["task"] = {**notice, "stage": "downloading"}
            mind["ending"] = None
            self.memory.save()
            self.begin(about)

    def begin(self, about):
        task = self.memory.devices[about]["task"]
        self.log(f"{about}: upgrading {task['kind']} to {task['version']}")
        self.upgrades[about] = Upgrade(self, about, dict(task))
        self.upgrades[about].start()

    def on_progress(self, about, percent, doing):
        self.say_progress(about, self.memory.devices[about]["task"]["kind"], 0, percent, doing)

    def on_failed(self, about, code, why):
        self.end(about, code, why)

    def on_installed(self, about):
        """The package is in place; the new version runs after a reboot. A child's reboot is not ours."""
        mind = self.memory.devices[about]
        task = mind["task"]
        self.log(f"{about}: installed {task['kind']} {task['version']}")
        mind[task["kind"]] = task["version"]  # a real device asks the image that it has started
        task["stage"] = "rebooting"
        self.memory.save()
        if about == self.id:
            self.log("rebooting")
            return True
        self.end(about, 0, "upgraded")
        return None

    def end(self, about, code, description):
        """Remembers the end before it says it, and says it until it is acknowledged."""
        mind = self.memory.devices[about]
        task = mind["task"]
        self.upgrades.pop(about, None)
        mind["last"] = {**task, "code": code, "description": description}
        mind["ending"] = {"kind": task["kind"], "code": code, "progress": 100 if code == 0 else 0,
                          "description": description}
        mind["task"] = None
        self.memory.save()
        self.memory.forget_package(about)
        if self.mqtt.is_connected():
            self.say_ending(about)
        self.log(f"{about}: ended with {code}: {description}")

    # What we say

    def say_versions(self, about):
        mind = self.memory.devices[about]
        self.say(event(about, "version_report", {"fw_version": mind["firmware"], "sw_version": mind["software"]}))

    def say_progress(self, about, kind, code, progress, description):
        """The version is always the one that runs, also in a failure."""
        paras = {"result_code": code, "progress": progress, "version": self.memory.devices[about][kind],
                 "description": description}
        return self.say(event(about, "upgrade_progress_report", paras))

    def say_ending(self, about):
        ending = self.memory.devices[about]["ending"]
        if ending is not None:
            self.said_last[self.say_progress(about, **ending).mid] = about

    def say(self, message):
        """At QoS 1: paho keeps it until it is acknowledged, over lost connections too, but not over a reboot."""
        paras = message["services"][0]["paras"]
        self.log(f"> {message['services'][0]['event_type']} of {message['object_device_id']}: {json.dumps(paras)}")
        return self.mqtt.publish(self.up, json.dumps(message), qos=1)

    def drop_link(self):
        """Pulls the plug, for --drop-at. paho notices and connects again."""
        self.log("dropping the connection")
        link = self.mqtt.socket()
        try:
            if link is not None:
                link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was gone already

    def on_stop(self):
        return False

    @staticmethod
    def log(line):
        sys.stdout.write(f"{datetime.now().strftime('%H:%M:%S')} {line}\n")  # in one piece: two threads write
        sys.stdout.flush()


# --- Settings -----------------------------------------------------------------------------------------------


class Settings(argparse.Namespace):
    def tls_context(self):
        """Whom to trust: --ca, or whom this computer trusts. Chain and host name are both checked."""
        return ssl.create_default_context(cafile=self.ca)


def settings():
    parser = argparse.ArgumentParser(description="A device that can be upgraded over MQTT, to copy from.")
    add = parser.add_argument
    add("--device", required=True, help="the device id")
    add("--secret", default=os.environ.get("DEVICE_SECRET"), help="or DEVICE_SECRET, which others cannot see")
    add("--host", default="127.0.0.1")
    add("--port", type=int, help="1883, or 8883 with TLS")
    add("--tls", action="store_true", help="connect with TLS")
    add("--ca", metavar="FILE", help="authority to trust, PEM; for MQTT and for downloads")
    add("--folder", default="device-data", help="where state.json and packages are kept")
    add("--version", default="v1.0.0", help="the versions at the very first start")
    add("--gateway", action="store_true", help="speak for children too")
    add("--child", action="append", default=[], metavar="NODE", help="node id of a child; may be repeated")
    add("--product", help="product id of the children; taken from the device id if left out")
    add("--install", metavar="PROGRAM", help="called with package and version to install; 0 is success")
    add("--install-secs", type=float, default=1.0, help="how long the pretended installation takes")
    add("--begin-after", type=float, default=0.0, metavar="SECS", help="wait before an upgrade begins")
    add("--download-secs", type=float, default=3600.0, help="how long a download may take in all")
    add("--tries", type=int, default=10, help="connections in a row that may bring nothing; 10 are about four minutes")
    add("--accepts", metavar="bin,img", help="ends of file names that can be installed; all by default")
    add("--battery", default="/sys/class/power_supply/BAT0/capacity", metavar="FILE", help="holds the percentage")
    add("--keep-free", type=int, default=0, metavar="BYTES", help="storage that packages must leave free")
    add("--fail", type=int, choices=sorted(REASONS), metavar="CODE", help="end every upgrade with this result code")
    add("--drop-at", type=int, metavar="PERCENT", help=f"lose the connection once; from {DOWNLOADED_PERCENT} on it installs")
    found = parser.parse_args(namespace=Settings())
    if not found.secret:
        parser.error("no secret; give --secret or set DEVICE_SECRET")
    if found.child and not found.gateway:
        parser.error("--child needs --gateway")
    found.port = found.port or (8883 if found.tls else 1883)
    product = found.product or found.device.rsplit("_", 1)[0]
    found.children = [f"{product}_{node}" for node in found.child]
    return found


def main():
    device = Device(settings())
    signal.signal(signal.SIGTERM, lambda *_: device.tell("stop"))
    signal.signal(signal.SIGINT, lambda *_: device.tell("stop"))
    if device.run():
        # A reboot: all but the folder is forgotten.
        os.execv(sys.executable, [sys.executable] + sys.argv)


if __name__ == "__main__":
    main()
