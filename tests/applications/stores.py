"""Images in an S3-compatible store: a real one of its interface (moto), with access keys that it checks, and one that is down."""
import hashlib
import http.client
import http.server
import inspect
import json
import logging
import os
import random
import threading
import urllib.request

import boto3
import huaweicloudsdkiotda.v5 as v5
from moto.server import ThreadedMotoServer

from calls import has
from stage import check, same, until

THERE, PREFIX = "company-images", "pumps"
IMAGES, LOCKED, DOWN, FLAKY = "images", "locked", "down", "flaky"
LARGE = 9 * 1024 * 1024 + 7


class S3Store:
    """A bucket with a user who may read it. The settings of a server that knows it by four names: as it should be, with a
    wrong secret, at a port where nobody is, and behind a line that breaks."""

    def __init__(self, folder):
        self.folder = folder
        self.store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.line = None

    def __enter__(self):
        os.makedirs(self.folder)
        # Somebody else's, which is nothing to a bucket that has credentials of its own.
        os.environ.update(AWS_SESSION_TOKEN="theirs", AWS_ENDPOINT="http://127.0.0.1:1", AWS_SKIP_SIGNATURE="true")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.store.start()
        host, port = self.store.get_host_and_port()
        self.url = f"http://{host}:{port}"
        root = dict(endpoint_url=self.url, region_name="eu-west-1", aws_access_key_id="root", aws_secret_access_key="root")
        iam = boto3.client("iam", **root)
        iam.create_user(UserName="otaru")
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        iam.put_user_policy(UserName="otaru", PolicyName="all", PolicyDocument=json.dumps(allowed))
        key = iam.create_access_key(UserName="otaru")["AccessKey"]
        self.client = boto3.client("s3", endpoint_url=self.url, region_name="eu-west-1",
                                   aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
        self.client.create_bucket(Bucket=THERE, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        # From now on signatures are checked.
        urllib.request.urlopen(urllib.request.Request(
            f"{self.url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST")).close()
        self.line = Line(port)
        self.good = self._file("good.key", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
        self.wrong = self._file("wrong.key", f"{key['AccessKeyId']}:{'0' * 40}")
        return self

    def _file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text + "\n")
        return path

    def __exit__(self, *_):
        if self.line:
            self.line.end()
        self.store.stop()

    def settings(self):
        where = lambda url, file: f"s3://{THERE}/{PREFIX}?endpoint={url}&region=eu-west-1&credentials={file}"
        return [f"buckets.{IMAGES}={where(self.url, self.good)}", f"buckets.{LOCKED}={where(self.url, self.wrong)}",
                f"buckets.{DOWN}={where('http://127.0.0.1:1', self.good)}", f"buckets.{FLAKY}={where(self.line.url, self.good)}"]

    def image(self, key, size=50_000):
        """A new object; the SHA-256 of its bytes."""
        content = random.Random(key).randbytes(size)
        self.client.put_object(Bucket=THERE, Key=f"{PREFIX}/{key}", Body=content)
        return hashlib.sha256(content).hexdigest()


class Line:
    """Passes requests on to the store, but no bytes of objects while it is broken. `meanwhile` is done once, after the next part
    of an object. Tags of versions are passed on as weak ones while `is_weak`."""

    def __init__(self, port):
        line = self
        self.broken = threading.Event()
        self.meanwhile = None
        self.is_weak = False
        self.refused = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                if line.broken.is_set() and self.command == "GET":
                    line.refused += 1
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                there = http.client.HTTPConnection("127.0.0.1", port)
                there.request(self.command, self.path, headers=dict(self.headers))
                answer = there.getresponse()
                content = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, "W/" + value if name.lower() == "etag" and line.is_weak else value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(content)
                meanwhile, line.meanwhile = (line.meanwhile, None) if self.command == "GET" else (None, line.meanwhile)
                if meanwhile:
                    meanwhile()

            do_GET = do_HEAD = pass_on

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


def package_of(s, product, bucket, key, **location):
    where = v5.ObsLocation(region_name="eu-west-1", bucket_name=bucket, object_key=key, **location)
    return v5.CreateOtaPackage(app_id=s.app_id(), package_type="firmwarePackage", product_id=product, version="2.0.0",
                               file_location=v5.FileLocation(where))


def an_image_in_a_store_upgrades_a_device(s):
    product, key = s.product(), s.name("folder") + "/pump v2.bin"
    digest = s.server.s3.image(key, LARGE)
    made = s.ask("create_ota_package", body=package_of(s, product, IMAGES, key, sign=digest.upper()))
    has(made["file_location"]["obs_location"], bucket_name=IMAGES, object_key=key, region_name="eu-west-1")
    device = s.connect(s.device(product))
    task = s.task(made["package_id"], [device.id])
    s.until_counted(task, success=1)
    same(device.fetched, [digest], "what it downloaded is what is in the store")
    [(event, notice)] = device.notices()
    has(notice, version="2.0.0", file_size=LARGE, sign=digest)
    check(s.server.s3.url not in notice["url"], "devices download from the platform", notice["url"])
    # What happens to the object later does not matter.
    s.server.s3.client.delete_object(Bucket=THERE, Key=f"{PREFIX}/{key}")
    late = s.connect(s.device(product))
    s.until_counted(s.task(made["package_id"], [late.id]), success=1)


def an_object_has_to_be_where_it_is_said_to_be(s):
    product, key = s.product(), s.name("folder") + "/image.bin"
    s.server.s3.image(key)
    s.server.s3.client.put_object(Bucket=THERE, Key="outside.bin", Body=b"x")
    refused = lambda bucket, key: s.refused(400, "IOTDA.000109", "create_ota_package", body=package_of(s, product, bucket, key))
    check("no object" in refused(IMAGES, "no/such/image.bin"), "it says that there is none")
    refused(IMAGES, "outside.bin")
    s.refused(400, "IOTDA.000006", "create_ota_package", body=package_of(s, product, IMAGES, "../outside.bin"))
    said = refused(LOCKED, key)
    check("may not be read" in said, "it says that the store refuses the platform", said)
    same(s.ask("list_ota_package_info", package_type="firmwarePackage", product_id=product)["packages"], [], "nothing was made")


def a_store_that_does_not_answer_is_not_the_callers_fault(s):
    said = s.refused(503, "IOTDA.000111", "create_ota_package", body=package_of(s, s.product(), DOWN, "image.bin"))
    check(DOWN in said, "it says what does not answer", said)


def a_package_that_is_not_what_was_said_holds_its_devices(s):
    product, key = s.product(), s.name("folder") + "/image.bin"
    digest = s.server.s3.image(key)
    package = s.ask("create_ota_package", body=package_of(s, product, IMAGES, key, sign="0" * 64))["package_id"]
    device = s.connect(s.device(product))
    task = s.task(package, [device.id])
    why = until(lambda: (said := s.show(task)[0]["status_desc"]) if "invalid" in s.show(task)[0]["status_desc"] else None,
                "the task says that the package is invalid")
    check(package in why and digest in why, "it says which one, and what it is", why)
    has(s.show(task)[0]["task_progress"], total=1, success=0, fail=0)
    same(device.notices(), [], "no device is told")
    s.ask("stop_batch_task", task_id=task)
    s.until_status(task, "Stopped")
    s.ask("delete_batch_task", task_id=task)
    s.ask("delete_ota_package", package_id=package)
    # The same version can be made again, as it should have been.
    again = s.ask("create_ota_package", body=package_of(s, product, IMAGES, key, sign=digest))["package_id"]
    s.until_counted(s.task(again, [device.id]), success=1)


def an_image_that_cannot_be_read_yet_is_read_later(s):
    product, key = s.product(), s.name("folder") + "/image.bin"
    digest, line = s.server.s3.image(key), s.server.s3.line
    line.broken.set()
    try:
        package = s.ask("create_ota_package", body=package_of(s, product, FLAKY, key))["package_id"]
        device = s.connect(s.device(product))
        task = s.task(package, [device.id])
        said = until(lambda: s.show(task)[0]["status_desc"] or None, "the task says what it waits for")
        check("tried again" in said and FLAKY in said and "503" in said, "it says where, and what came of it", said)
        check(line.refused > 0, "it was tried")
        same(device.notices(), [], "no device is told")
    finally:
        line.broken.clear()
    s.until_counted(task, success=1)
    same((device.fetched, s.show(task)[0]["status_desc"]), ([digest], ""), "then everything went as it should")


def an_image_that_changes_while_it_is_read_is_read_from_its_beginning(s):
    product, key, line = s.product(), s.name("folder") + "/image.bin", s.server.s3.line
    s.server.s3.image(key, LARGE)
    other = random.Random(key + "2").randbytes(LARGE)
    digest = hashlib.sha256(other).hexdigest()
    line.meanwhile = lambda: s.server.s3.client.put_object(Bucket=THERE, Key=f"{PREFIX}/{key}", Body=other)
    package = s.ask("create_ota_package", body=package_of(s, product, FLAKY, key))["package_id"]
    device = s.connect(s.device(product))
    task = s.task(package, [device.id])
    said = until(lambda: s.show(task)[0]["status_desc"] or None, "the task says why it waits")
    check("changed while it was read" in said, "it says so", said)
    s.until_counted(task, success=1)
    same((line.meanwhile, device.fetched), (None, [digest]), "it is the new one, whole")


def a_store_with_weak_tags_is_read_as_well(s):
    product, key, line = s.product(), s.name("folder") + "/image.bin", s.server.s3.line
    digest = s.server.s3.image(key, LARGE)
    line.is_weak = True
    try:
        package = s.ask("create_ota_package", body=package_of(s, product, FLAKY, key, sign=digest))["package_id"]
        device = s.connect(s.device(product))
        s.until_counted(s.task(package, [device.id]), success=1)
    finally:
        line.is_weak = False
    same(device.fetched, [digest], "what is in the store")


RUNS = [value for value in list(globals().values())
        if inspect.isfunction(value) and value.__module__ == __name__ and list(inspect.signature(value).parameters) == ["s"]]
