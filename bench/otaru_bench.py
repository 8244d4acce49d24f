"""What the benchmarks have in common: a server, a yardstick, the load generator, and a line about the machine.

Loopback only. Everything that is started is ended by its own process id.
"""

import hashlib
import hmac
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOKEN, SECRET, STAMP = "bench-token-for-one-run-only", "bench-secret", "2026112500"
NAME = Path(sys.argv[0]).name
READY_SECS = 120


def fail(problem):
    sys.exit(f"bench/{NAME}: {problem}")


def say(text):
    """Progress, for whoever waits."""
    print(f"  {text}", file=sys.stderr, flush=True)


def build(target=None, **environment):
    """The release binaries of this tree; with other settings in a folder of their own below target/."""
    command = ["cargo", "build", "--release", "-p", "otaru-server", "-p", "otaru-fleet", "--bin", "otaru", "--bin", "otaru-load"]
    folder = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / (target or "")
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "CARGO_TARGET_DIR": str(folder), **environment})
    return folder / "release"


def all_files():
    """As many open files as this process may have, for it and what it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def folder():
    """A directory on a disk that goes with the run."""
    base = Path(os.environ.get("DATA", ROOT / "target" / "bench"))
    base.mkdir(parents=True, exist_ok=True)
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(base)], capture_output=True, text=True).stdout.strip()
    if kind == "tmpfs":
        fail(f"{base} is in memory, where syncing costs nothing; set DATA to a disk")
    return tempfile.TemporaryDirectory(dir=base)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_bytes(pid):
    """Resident memory of one process that is its own: what it shares with files does not grow with connections."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", text).group(1)) * 1024


def settled_bytes(pid, patience=20):
    """Resident memory, once it has stopped moving for a second and a half."""
    last, since = resident_bytes(pid), time.monotonic()
    end = time.monotonic() + patience
    while time.monotonic() < end and time.monotonic() - since < 1.5:
        time.sleep(0.1)
        now = resident_bytes(pid)
        if abs(now - last) > 64 * 1024:
            last, since = now, time.monotonic()
    return resident_bytes(pid)


def peak_bytes(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) * 1024


class Server:
    """One run of the platform, with synchronous=FULL and without the limit on a device's rate."""

    def __init__(self, binaries, data, *more, under=()):
        self.binaries, self.data = binaries, Path(data)
        self.more, self.under = list(more), list(under)
        self.start()

    def start(self):
        """Answers after how many seconds it said that it is ready."""
        self.log = open(self.data.parent / f"{self.data.name}.log", "ab")
        command = [
            *self.under, str(self.binaries / "otaru"), "serve", "--data-dir", str(self.data), "--mqtt", "127.0.0.1:0",
            "--http", "127.0.0.1:0", "--log", "warn", "--set", "limits.uplink_rate=0",
            "--set", "store.synchronous=full", "--set", "timers.settle=100ms", *self.more,
        ]
        begin = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, "OTARU_ADMIN_TOKEN": TOKEN}
        )
        ready = self.process.stdout.readline()
        self.ready_secs = time.monotonic() - begin
        if not ready.startswith("otaru ready"):
            fail(f"the server did not become ready: {Path(self.log.name).read_text()[-2000:]}")
        self.addresses = dict(part.split("=", 1) for part in ready.split()[2:])
        return self.ready_secs

    @property
    def pid(self):
        return self.process.pid

    @property
    def mqtt(self):
        return self.addresses["mqtt"]

    @property
    def http(self):
        return self.addresses["http"]

    def api(self, path, body=None, kind="application/json", method=None):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.http}/api/v1/{path}", data=data, method=method,
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": kind},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            fail(f"{path}: {error.code} {error.read()[:500]!r}")

    def register(self, product, count):
        """`count` devices `{product}_0` and so on, all with the same secret."""
        self.api("products", {"product_id": product, "name": product})
        lines = (json.dumps({"product_id": product, "node_id": str(n), "secret": SECRET}) for n in range(count))
        made = self.import_lines(lines)
        if made["created"] != count:
            fail(f"{made['created']} of {count} devices were registered: {made['first_error']}")

    def import_lines(self, lines, on_answer=None):
        """Streams NDJSON lines to the import and reads its answers meanwhile."""
        import http.client
        import threading

        host, port = self.http.rsplit(":", 1)
        raw = socket.create_connection((host, int(port)))
        head = (
            f"POST /api/v1/devices/import HTTP/1.1\r\nHost: {self.http}\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        raw.sendall(head.encode())
        problem = []

        def send():
            try:
                part, size = [], 0
                for line in lines:
                    part.append(line)
                    size += len(line) + 1
                    if size >= 65536:
                        data = ("\n".join(part) + "\n").encode()
                        raw.sendall(b"%x\r\n" % len(data) + data + b"\r\n")
                        part, size = [], 0
                if part:
                    data = ("\n".join(part) + "\n").encode()
                    raw.sendall(b"%x\r\n" % len(data) + data + b"\r\n")
                raw.sendall(b"0\r\n\r\n")
            except OSError as error:
                problem.append(error)

        sender = threading.Thread(target=send)
        sender.start()
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        if answer.status != 200:
            fail(f"import: {answer.status} {answer.read()[:500]!r}")
        result = {"created": 0, "exists": 0, "error": 0, "lines": 0, "first_error": None}
        rest = b""
        while True:
            part = answer.read1(1 << 18)
            if not part:
                break
            lines_now = (rest + part).split(b"\n")
            rest = lines_now.pop()
            result["lines"] += len(lines_now)
            for word in ("created", "exists", "error"):
                needle = b'"status":"%s"' % word.encode()
                found = sum(needle in line for line in lines_now)
                result[word] += found
                if word == "error" and found and result["first_error"] is None:
                    result["first_error"] = next(line for line in lines_now if needle in line).decode()[:500]
            if on_answer:
                on_answer(result["lines"])
        sender.join()
        if problem:
            fail(f"import: {problem[0]}")
        return result

    def package(self, product, version="2.0.0", bytes_=65536):
        artifact = self.api("artifacts", bytes(bytes_), "application/octet-stream")["artifact_id"]
        return self.api("packages", {
            "product_id": product, "kind": "firmware", "version": version, "artifact_id": artifact,
            "file_name": "bench.bin",
        })["package_id"]

    def campaign(self, product, package, **more):
        return self.api("campaigns", {
            "name": "bench", "package_ids": [package], "devices": {"product_id": product}, "start": True, **more,
        })["campaign_id"]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=120)
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Mosquitto:
    """The yardstick: QoS 1, nothing stored; with a password file when there are users."""

    def __init__(self, work, users=None, password=None, tls=None):
        if not shutil.which("mosquitto"):
            fail("mosquitto is missing; install it with: sudo apt-get install mosquitto")
        self.port = free_port()
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "log_type error", f"pid_file {work}/mosquitto.pid"]
        lines += ["user root"] if os.geteuid() == 0 else []
        if tls:
            lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        if users:
            file = Path(work) / "passwords"
            file.write_text("".join(f"{user}:{password}\n" for user in users))
            subprocess.run(["mosquitto_passwd", "-U", str(file)], check=True, capture_output=True)
            lines += ["allow_anonymous false", f"password_file {file}"]
        else:
            lines += ["allow_anonymous true"]
        config = Path(work) / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        self.log = open(Path(work) / "mosquitto.log", "wb")
        self.process = subprocess.Popen(["mosquitto", "-c", str(config)], stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if self.process.poll() is not None:
                    fail(f"mosquitto ended: {Path(self.log.name).read_text()}")
                time.sleep(0.05)
        version = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True).stdout.split("\n")[0]
        self.name = version.replace(" version", "").strip()

    @property
    def pid(self):
        return self.process.pid

    @property
    def mqtt(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def load(binaries, *arguments):
    """Runs the generator and answers what it measured."""
    run = subprocess.run([str(binaries / "otaru-load"), *map(str, arguments)], capture_output=True, text=True)
    if run.returncode != 0:
        fail(f"otaru-load: {run.stderr}")
    return json.loads(run.stdout)


class Load:
    """The generator beside something else."""

    def __init__(self, binaries, *arguments):
        self.process = subprocess.Popen(
            [str(binaries / "otaru-load"), *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            fail(f"otaru-load: {self.process.stderr.read()}")
        return line

    def end(self):
        """Tells it that it may end, and answers what it says last."""
        out, err = self.process.communicate()
        if self.process.returncode != 0:
            fail(f"otaru-load: {err}")
        lines = out.strip().splitlines()
        return json.loads(lines[-1]) if lines else None


class Reporters:
    """100 devices of a product of their own, each in a running deployment, that report by the clock beside something else:
    200 reports a second in all. Latency is from when a report was due."""

    COMMON = ("--prefix", "reporters_", "--connections", 100, "--in-flight", 8, "--every", 0.5, "--json")

    def __init__(self, binaries, server):
        self.binaries, self.server = binaries, server
        server.register("reporters", 100)
        server.campaign("reporters", server.package("reporters"))
        self.common = ("--target", server.mqtt, "--secret", SECRET, *self.COMMON)

    def quiet(self, secs):
        """How it is when nothing else happens."""
        return load(self.binaries, *self.common, "--secs", secs)

    def begin(self):
        """They report until `end` of what is answered is called."""
        beside = Load(self.binaries, *self.common, "--until-stdin-ends", "--warm-up", 0.5)
        time.sleep(1.5)
        return beside


def machine(data):
    """One line about where this was measured."""
    file = Path(data) / "synced"
    spent = []
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_DSYNC)
    for at in range(300):
        begin = time.perf_counter()
        os.pwrite(handle, bytes(4096), at * 4096)
        spent.append(time.perf_counter() - begin)
    os.close(handle)
    file.unlink()
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1)
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(data)], capture_output=True, text=True).stdout.strip()
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return (
        f"{os.cpu_count()} x {model}, Linux {os.uname().release}, {kind}, {sorted(spent)[150] * 1000:.2f} ms for a synced "
        f"4 KiB write; generator on the same machine; synchronous=FULL; {time.strftime('%Y-%m-%d', time.gmtime())}, "
        f"{revision or 'no revision'}."
    )


def table(head, rows):
    """A table in Markdown: the first column is text, the others are numbers."""
    print("| " + " | ".join(head) + " |")
    print("|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


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


def connect(device, secret=SECRET):
    password = hmac.new(STAMP.encode(), secret.encode(), hashlib.sha256).hexdigest()
    body = text("MQTT") + b"\x04\xc2" + (120).to_bytes(2, "big")
    return packet(0x10, body + text(f"{device}_0_0_{STAMP}") + text(device) + text(password))


def publish(topic, payload, packet_id=None):
    head = text(topic) + (packet_id.to_bytes(2, "big") if packet_id else b"")
    return packet(0x32 if packet_id else 0x30, head + payload)


def events_up(device):
    return f"$oc/devices/{device}/sys/events/up"


def event(event_type, paras):
    service = {"service_id": "$ota", "event_type": event_type, "paras": paras}
    return json.dumps({"services": [service]}).encode()


class Told:
    """A device that answers one version question and keeps the notice it is sent; it goes no further."""

    def __init__(self, address, device):
        host, port = address.rsplit(":", 1)
        self.device = device
        self.link = socket.create_connection((host, int(port)), timeout=60)
        self.link.sendall(connect(device))
        self.rest = b""
        if self._packet()[1][1:2] != b"\x00":
            fail(f"{device} was refused")

    def _packet(self):
        while True:
            length, shift, at = 0, 0, 1
            while at < len(self.rest):
                digit = self.rest[at]
                length |= (digit & 127) << shift
                shift, at = shift + 7, at + 1
                if not digit & 128:
                    if len(self.rest) >= at + length:
                        first, body = self.rest[0], self.rest[at:at + length]
                        self.rest = self.rest[at + length:]
                        return first, body
                    break
            more = self.link.recv(65536)
            if not more:
                fail(f"{self.device} was disconnected")
            self.rest += more

    def notice(self):
        """Waits for the notice; answers what is in it."""
        while True:
            first, body = self._packet()
            if first >> 4 != 3:
                continue
            end = 2 + int.from_bytes(body[:2], "big")
            if first & 6:
                self.link.sendall(b"\x40\x02" + body[end:end + 2])
                end += 2
            service = json.loads(body[end:])["services"][0]
            if service["event_type"] == "version_query":
                self.link.sendall(publish(events_up(self.device), event("version_report", {"fw_version": "1.0.0"}), 1))
            else:
                return service["paras"]
