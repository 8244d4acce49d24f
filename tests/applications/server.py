"""A server on free ports of this machine, with a bucket of images and an access key."""
import json
import os
import queue
import re
import subprocess
import threading

PATIENCE_SECS = 60
BUCKET = "firmware"


class Server:
    """`otaru serve` from `with` to its end. Everything that it writes is in `folder`."""

    def __init__(self, otaru, folder, *settings):
        self.otaru = otaru
        self.data = os.path.join(folder, "data")
        self.bucket = os.path.join(folder, BUCKET)
        self.log = os.path.join(folder, "log")
        self.settings = [f"buckets.{BUCKET}={self.bucket}", *settings]
        self.process = None

    def __enter__(self):
        os.makedirs(self.bucket)
        flags = [word for setting in self.settings for word in ("--set", setting)]
        command = [self.otaru, "serve", "--data-dir", self.data, "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", *flags]
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            ports = self._ports()
            self.url, self.mqtt_port = f"http://127.0.0.1:{ports['http']}", int(ports["mqtt"])
            self.key = self.make_key("operator")
        except BaseException:
            self.__exit__()
            print("the server's log:\n" + self.log_from(0), flush=True)
            raise
        return self

    def _ports(self):
        first = queue.Queue()
        threading.Thread(target=lambda: first.put(self.process.stdout.readline()), daemon=True).start()
        return dict(re.findall(r"(\w+)=\S+:(\d+)", first.get(timeout=PATIENCE_SECS)))

    def make_key(self, role):
        """What an application is configured with."""
        made = json.loads(self._access_key("create", "--name", "ci", "--role", role, "--json"))
        key = {name: made[name] for name in ("access_key", "secret_key", "project_id")}
        assert re.fullmatch("[0-9a-f]{24}", key["project_id"]), key
        return key

    def revoke_key(self, access_key):
        self._access_key("revoke", access_key)

    def _access_key(self, *words):
        command = [self.otaru, "access-key", *words, "--data-dir", self.data, "--url", self.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"otaru access-key {words[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def log_size(self):
        return os.path.getsize(self.log)

    def log_from(self, begin):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(begin)
            return "".join(log.readlines()[-40:])
