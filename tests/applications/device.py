"""A device: it connects over MQTT, says what it runs, and upgrades itself when it is told to."""
import hashlib
import hmac
import json
import queue
import threading
import urllib.request
from datetime import datetime, timezone

import paho.mqtt.client as mqtt

from server import PATIENCE_SECS

KEEP_ALIVE_SECS = 120
VERSION_MEMBER = {"firmware": "fw_version", "software": "sw_version"}
VERIFY_FAILED = 7


class Device:
    """Speaks for itself and for its children. One thread hears, another one works.

    code      what every upgrade ends with; 0 is success
    silent    it does not say which version it runs
    hold      an event that the end of an upgrade waits for
    heard     what it was told: about whom, which event, with which members
    fetched   the SHA-256 of what was downloaded, per upgrade
    """

    def __init__(self, port, device_id, secret, *children, version="1.0.0", code=0, silent=False, hold=None):
        self.port = port
        self.id = device_id
        self.secret = secret
        self.code = code
        self.silent = silent
        self.hold = hold
        self.versions = {about: {"firmware": version, "software": version} for about in (device_id, *children)}
        self.heard = []
        self.fetched = []
        self.failure = None
        self.up = f"$oc/devices/{device_id}/sys/events/up"
        self.inbox = queue.SimpleQueue()
        self.outcome = queue.SimpleQueue()
        self.lost = threading.Event()
        self.mqtt = None

    def connect(self):
        """None, or why it was refused."""
        hour = datetime.now(timezone.utc).strftime("%Y%m%d%H")
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{self.id}_0_0_{hour}", clean_session=True,
                                reconnect_on_failure=False)
        self.mqtt.username_pw_set(self.id, hmac.new(hour.encode(), self.secret.encode(), hashlib.sha256).hexdigest())
        self.mqtt.on_connect = lambda client, user, flags, reason, properties: self.outcome.put(reason)
        self.mqtt.on_disconnect = lambda client, user, flags, reason, properties: self.lost.set()
        self.mqtt.on_message = lambda client, user, message: self.inbox.put(message.payload)
        self.lost.clear()
        self.mqtt.connect("127.0.0.1", self.port, KEEP_ALIVE_SECS)
        self.mqtt.loop_start()
        reason = self.outcome.get(timeout=PATIENCE_SECS)
        if reason.is_failure:
            self.disconnect()
            return str(reason)
        threading.Thread(target=self._work, args=(self.inbox,), daemon=True).start()
        return None

    def disconnect(self):
        if self.mqtt is None:
            return
        if self.hold is not None:
            self.hold.set()
        self.inbox.put(None)
        self.inbox = queue.SimpleQueue()
        self.mqtt.disconnect()
        self.mqtt.loop_stop()
        self.mqtt = None

    def _work(self, inbox):
        while (payload := inbox.get()) is not None:
            message = json.loads(payload)
            for service in message["services"]:
                if service["service_id"] != "$ota":
                    continue
                about, event, paras = message["object_device_id"], service["event_type"], service["paras"]
                self.heard.append((about, event, paras))
                if event == "version_query":
                    if not self.silent:
                        self.say_versions(about)
                    continue
                kind = event.split("_")[0]
                # A second notice is heard while the first one is worked on.
                threading.Thread(target=self._try_to_upgrade, args=(about, kind, paras), daemon=True).start()

    def _try_to_upgrade(self, about, kind, notice):
        try:
            self._upgrade(about, kind, notice)
        except Exception as failure:  # the run that looks at this device shows it
            self.failure = failure

    def _upgrade(self, about, kind, notice):
        old = self.versions[about][kind]
        self.say_progress(about, 0, 10, old, "downloading")
        request = urllib.request.Request(notice["url"])
        if notice.get("access_token"):
            request.add_header("Authorization", f"Bearer {notice['access_token']}")
        with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
            content = answer.read()
        digest = hashlib.sha256(content).hexdigest()
        self.fetched.append(digest)
        right = len(content) == notice["file_size"] and digest == notice["sign"].lower()
        code = self.code if right else VERIFY_FAILED
        self.say_progress(about, 0, 90, old, "installing")
        if self.hold is not None:
            self.hold.wait(PATIENCE_SECS)
        if code != 0:
            self.say_progress(about, code, 90, old, "as it was asked to")
            return
        self.versions[about][kind] = notice["version"]
        self.say_progress(about, 0, 100, notice["version"], "upgraded")
        self.say_versions(about)

    def say_versions(self, about):
        self.say(about, "version_report", {VERSION_MEMBER[kind]: version for kind, version in self.versions[about].items()})

    def say_progress(self, about, code, progress, version, description):
        self.say(about, "upgrade_progress_report",
                 {"result_code": code, "progress": progress, "version": version, "description": description})

    def say(self, about, event, paras):
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        message = {"object_device_id": about, "services": [
            {"service_id": "$ota", "event_type": event, "event_time": now, "paras": paras}]}
        client = self.mqtt
        if client is not None:
            client.publish(self.up, json.dumps(message), qos=1)

    def notices(self, about=None):
        """The members of the upgrade notices that it was told."""
        return [(event, paras) for who, event, paras in list(self.heard) if who == (about or self.id) and event != "version_query"]
