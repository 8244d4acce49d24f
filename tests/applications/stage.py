"""What a run finds when it begins: the client of an application, and things of its own to work with."""
import hashlib
import itertools
import json
import os
import random
import re
import time

import huaweicloudsdkiotda.v5 as v5
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.http.http_handler import HttpHandler
from huaweicloudsdkcore.region.region import Region

from device import Device
from server import BUCKET, PATIENCE_SECS

SCHEMES = ["SDK-HMAC-SHA256", "V11-HMAC-SHA256"]
NUMBERS = itertools.count(1)
# Schemes and calls that went well.
MADE = set()
IMAGE_BYTES = 200_000
MARKER = r"[0-9a-f]{24}"
TIME = r"\d{8}T\d{6}Z"
TIME_WITH_MILLIS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
ERROR_CODE = r"IOTDA\.\d{6}"
COUNTERS = ["total", "processing", "success", "fail", "waitting", "fail_wait_retry", "stopped", "removed"]
# What is answered to a call that went well; 200 to all others.
CREATED = {"create_product", "add_device", "add_device_group", "create_ota_package", "create_batch_task",
           "create_routing_rule", "create_rule_action", "add_application", "create_ota_module"}
NO_CONTENT = {"delete_product", "delete_device", "delete_device_group", "delete_ota_package", "delete_batch_task",
              "freeze_device", "unfreeze_device", "delete_routing_rule", "delete_rule_action",
              "delete_application", "delete_ota_module"}


class Failed(Exception):
    """A promise that was not kept."""


def check(holds, promise, found=""):
    if not holds:
        raise Failed(f"{promise}\n  found: {found}")


def same(found, wanted, promise):
    check(found == wanted, promise, f"{found!r}\n  not:   {wanted!r}")


def looks(text, pattern, what):
    check(isinstance(text, str) and re.fullmatch(pattern, text), f"{what} is like {pattern}", repr(text))


def until(there, what):
    """The first answer of `there` that is not None."""
    deadline = time.monotonic() + PATIENCE_SECS
    while (found := there()) is None:
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {PATIENCE_SECS} s")
        time.sleep(0.05)
    return found


# --- The client ---------------------------------------------------------------------------------------------


class Application:
    """The official client with one way of signing, and a strict look at everything that it is answered."""

    def __init__(self, scheme, url, access_key, secret_key, project_id, region=None):
        self.scheme = scheme
        credentials = BasicCredentials(access_key, secret_key, project_id)
        builder = v5.IoTDAClient.new_builder()
        if scheme == "V11-HMAC-SHA256":
            credentials.with_derived_predicate(BasicCredentials.get_default_derived_predicate())
            region = region or Region("cn-north-4", url)
        if region:
            builder.with_region(region)
        else:
            builder.with_endpoints([url])
        handler = HttpHandler().add_response_handler(self._heard)
        config = HttpConfig.get_default_config()
        config.timeout = (PATIENCE_SECS, PATIENCE_SECS)
        self.client = builder.with_credentials(credentials).with_http_config(config).with_http_handler(handler).build()
        self.answer = None

    def _heard(self, response, **_):
        self.answer = response

    def ask(self, call, headers=(), /, **parameters):
        """Makes a call that has to go well. Answers what was sent, as JSON; None if nothing was."""
        return self.invoke(call, request_of(call, parameters), headers)

    def invoke(self, call, request, headers=()):
        self.answer = None
        invoker = getattr(self.client, call + "_invoker")(request)
        for name, value in dict(headers).items():
            invoker.add_header(name, value)
        try:
            understood = invoker.invoke()
        except ServiceResponseException as refused:
            raise Failed(f"{call} is refused: {refused}\n  {self.exchange()}") from refused
        answer = self._http_answer()
        wanted = 201 if call in CREATED else 204 if call in NO_CONTENT else 200
        check(answer.status_code == wanted, f"{call} is answered with {wanted}", self.exchange())
        check(understood.status_code == wanted, "the client tells the same status", understood.status_code)
        MADE.add((self.scheme, call))
        if not answer.content:
            return None
        check(wanted != 204, "204 has no body", self.exchange())
        said = answer.json()
        try:
            look_at(said, type(understood), call)
            same(without_nulls(as_understood(understood)), without_nulls(said), "the client understands all of the answer")
        except Failed as failed:
            raise Failed(f"{failed}\n  {self.exchange()}") from failed
        return said

    def refused(self, status, code, call, headers=(), /, **parameters):
        """Makes a call that has to be refused with this status, or one of these, and this code, if any. Answers the message."""
        return self.invoke_refused(status, code, call, request_of(call, parameters), headers)

    def invoke_refused(self, status, code, call, request, headers=()):
        self.answer = None
        invoker = getattr(self.client, call + "_invoker")(request)
        for name, value in dict(headers).items():
            invoker.add_header(name, value)
        try:
            invoker.invoke()
        except ServiceResponseException as refused:
            answer = self._http_answer()
            statuses = (status,) if isinstance(status, int) else status
            check(refused.status_code in statuses, f"{call} is refused with {statuses}", self.exchange())
            looks(refused.error_code, ERROR_CODE, f"error_code of {call}")
            check(code in (None, refused.error_code), f"{call} is refused with {code}", self.exchange())
            check(isinstance(refused.error_msg, str) and refused.error_msg.strip(), "error_msg says something", self.exchange())
            same(refused.request_id, answer.headers["X-Request-Id"], "the client tells the request's id")
            same(answer.json(), {"error_code": refused.error_code, "error_msg": refused.error_msg}, "the body is these two")
            return refused.error_msg
        raise Failed(f"{call} is to be refused with {status} {code}\n  {self.exchange()}")

    def _http_answer(self):
        """What is the same for all answers."""
        answer = self.answer
        signed = answer.request.headers["Authorization"].split(" ")[0]
        same(signed, self.scheme, "the call was signed in the scheme of this run")
        check(answer.headers.get("X-Request-Id"), "every answer has X-Request-Id", self.exchange())
        check(not answer.is_redirect and not 300 <= answer.status_code < 400, "no answer redirects", self.exchange())
        if answer.content:
            kind = answer.headers.get("Content-Type", "")
            check(kind.split(";")[0].strip() == "application/json", "a body is JSON, and says so", self.exchange())
        return answer

    def exchange(self):
        """The last request and its answer, to show."""
        if self.answer is None:
            return "no answer"
        asked = self.answer.request
        body = asked.body.decode() if isinstance(asked.body, bytes) else asked.body
        text = self.answer.text
        return (f"{asked.method} {asked.path_url} {(body or '')[:1500]}\n  answered: {self.answer.status_code} "
                f"{text if len(text) <= 3000 else text[:3000] + '…'}")


def class_of(call, ending):
    return getattr(v5, "".join(word.capitalize() for word in call.split("_")) + ending)


def request_of(call, parameters):
    return class_of(call, "Request")(**parameters)


def look_at(said, model, where):
    """Types as a strict reader demands them; a member that no client knows is taken for a misspelling."""
    check(isinstance(said, dict), f"{where} is an object", repr(said))
    kinds = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
    for name, value in said.items():
        check(name in kinds, f"a member of {where} that the client knows", name)
        look_at_value(value, kinds[name], f"{where}.{name}")


def look_at_value(value, kind, where):
    if kind.startswith("list["):
        check(isinstance(value, list), f"{where} is an array, empty if need be", repr(value))
        for element in value:
            look_at_value(element, kind[5:-1], where + "[]")
    elif value is None or kind == "object":
        return
    elif kind.startswith("dict("):
        check(isinstance(value, dict), f"{where} is an object", repr(value))
    elif kind in ("str", "int", "bool", "float"):
        right = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}[kind]
        check(type(value) in right, f"{where} is of type {kind}", repr(value))
    else:
        look_at(value, getattr(v5, kind), where)


def as_understood(model):
    """What the client made of an answer."""
    if isinstance(model, list):
        return [as_understood(element) for element in model]
    if isinstance(model, dict):
        return {name: as_understood(value) for name, value in model.items()}
    if not hasattr(model, "attribute_map"):
        return model
    return {name: as_understood(getattr(model, attribute)) for attribute, name in model.attribute_map.items()}


def without_nulls(said):
    if isinstance(said, list):
        return [without_nulls(element) for element in said]
    if isinstance(said, dict):
        return {name: without_nulls(value) for name, value in said.items() if value is not None}
    return said


# --- The stage ----------------------------------------------------------------------------------------------


class Stage:
    """An application, and shortcuts to things of its own. Devices are disconnected when the run ends."""

    def __init__(self, server, scheme):
        self.server = server
        self.scheme = scheme
        self.number = next(NUMBERS)
        self.app = self.application()
        self.ask, self.refused = self.app.ask, self.app.refused
        self.connected = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for device in self.connected:
            device.disconnect()

    def application(self, **other):
        return Application(self.scheme, self.server.url, **{**self.server.key, **other})

    def name(self, what):
        """A name that nothing else has."""
        return f"{what}_{self.number}_{next(NUMBERS)}"

    def app_id(self):
        [space] = self.ask("show_applications", default_app=True)["applications"]
        return space["app_id"]

    def product(self, **members):
        smallest = {"name": self.name("Pump"), "device_type": "Pump", "protocol_type": "MQTT", "data_format": "json",
                    "service_capabilities": []}
        return self.ask("create_product", body=v5.AddProduct(**{**smallest, **members}))["product_id"]

    def device(self, product_id, **members):
        """The device as it was registered, with its secret."""
        smallest = {"node_id": self.name("node"), "product_id": product_id}
        return self.ask("add_device", body=v5.AddDevice(**{**smallest, **members}))

    def device_ids(self, product_id, number):
        return [self.device(product_id)["device_id"] for _ in range(number)]

    def connect(self, registered, *children, **behaviour):
        """A device that is there for real, from now on."""
        device = Device(self.server.mqtt_port, registered["device_id"], registered["auth_info"]["secret"], *children, **behaviour)
        self.connected.append(device)
        refused = device.connect()
        check(refused is None, "the device connects", refused)
        return device

    def image(self, name, size=IMAGE_BYTES):
        """A new file in the bucket: its key and the SHA-256 of its bytes."""
        key = f"{self.name('folder')}/{name}"
        content = random.Random(key).randbytes(size)
        path = os.path.join(self.server.bucket, key)
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(content)
        return key, hashlib.sha256(content).hexdigest()

    def package(self, product_id, version="2.0.0", kind="firmwarePackage", key=None, **members):
        location = v5.FileLocation(v5.ObsLocation(
            region_name="local", bucket_name=BUCKET, object_key=key or self.image("image.bin")[0]))
        smallest = {"app_id": self.app_id(), "package_type": kind, "product_id": product_id, "version": version,
                    "file_location": location}
        return self.ask("create_ota_package", body=v5.CreateOtaPackage(**{**smallest, **members}))["package_id"]

    def task_body(self, package_id, targets=None, /, **members):
        smallest = {"task_name": self.name("task"), "task_type": "firmwareUpgrade", "targets": targets,
                    "document": {"package_ids": [package_id]}}
        return v5.CreateBatchTask(**{**smallest, **members})

    def task(self, package_id, targets=None, /, **members):
        task = self.ask("create_batch_task", body=self.task_body(package_id, targets, **members))
        sound_task(task)
        return task["task_id"]

    def show(self, task_id, **filters):
        """A task, and its sub-tasks by device."""
        shown = self.ask("show_batch_task", task_id=task_id, **{"limit": 50, **filters})
        sound_task(shown["batchtask"])
        for detail in shown["task_details"]:
            sound_detail(detail)
        return shown["batchtask"], {detail["target"]: detail for detail in shown["task_details"]}

    def until_counted(self, task_id, **counters):
        """Looks at a task again and again, as applications do, until it has begun and counts this."""
        last = {}

        def there():
            task, details = self.show(task_id)
            last.update(task["task_progress"], status=task["status"])
            counted = all(task["task_progress"][name] == number for name, number in counters.items())
            return (task, details) if counted and task["status"] != "Initializing" else None
        try:
            return until(there, f"a task that counts {counters}")
        except Failed as failed:
            raise Failed(f"{failed}; it is {json.dumps(last)}\n  {self.app.exchange()}") from failed

    def until_status(self, task_id, *statuses):
        last = []

        def there():
            task, details = self.show(task_id)
            last[:] = [task["status"], task["task_progress"]]
            return (task, details) if task["status"] in statuses else None
        try:
            return until(there, f"a task in {statuses}")
        except Failed as failed:
            raise Failed(f"{failed}; it is {last}\n  {self.app.exchange()}") from failed

    def until_dispatched(self, task_id):
        """Past `Initializing`: every target has its sub-task."""
        return self.until_status(task_id, "Waitting", "Processing", "Success", "Fail", "PartialSuccess", "Stopped")

    def pages(self, call, rows, identity, number, /, **filters):
        """All rows of a list, walked in both ways that applications have, which have to agree."""
        by_marker, marker = [], None
        while True:
            page = self.ask(call, limit=2, **filters, **({"marker": marker} if marker else {}))
            found = [row[identity] for row in page[rows]]
            self.sound_page(page, number)
            if not found:
                break
            check(len(found) <= 2, "a page is not longer than asked for", found)
            looks(page["page"]["marker"], MARKER, "page.marker")
            by_marker += found
            marker = page["page"]["marker"]
            check(len(by_marker) <= number, "markers come to an end", by_marker)
        by_offset = []
        while True:
            page = self.ask(call, limit=2, offset=len(by_offset), **filters)
            self.sound_page(page, number)
            if not page[rows]:
                break
            by_offset += [row[identity] for row in page[rows]]
            check(len(by_offset) <= number, "offsets come to an end", by_offset)
        same(by_marker, by_offset, "markers and offsets lead to the same rows")
        whole = self.ask(call, limit=50, **filters)
        same([row[identity] for row in whole[rows]], by_marker, "a page of fifty has the same rows")
        same(len(set(by_marker)), number, "each row comes once")
        beyond = self.ask(call, limit=2, offset=500, **filters)
        same(beyond[rows], [], "behind the last row is an empty array")
        first = self.ask(call, limit=1, marker="f" * 24, **filters)
        same([row[identity] for row in first[rows]], by_marker[:1], "the greatest marker is the beginning")
        return by_marker

    @staticmethod
    def sound_page(page, number):
        same(sorted(page["page"]), ["count", "marker"], "page has count and marker")
        same(page["page"]["count"], number, "page.count is how many there are in all")

    def bad_pages(self, call, /, **parameters):
        for limit in (0, 51, -1):
            self.refused(400, "IOTDA.000017", call, limit=limit, **parameters)
        for offset in (-1, 501):
            self.refused(400, "IOTDA.000018", call, offset=offset, **parameters)
        self.refused(400, None, call, marker="no-marker", **parameters)
        self.ask(call, limit=50, offset=500, **parameters)
        self.ask(call, limit=1, offset=0, **parameters)


def sound_task(task):
    """What is the same for all tasks, wherever they are shown."""
    looks(task["task_id"], MARKER, "task_id")
    looks(task["create_time"], TIME, "create_time")
    check(task["status"] in {"Initializing", "Waitting", "Processing", "Success", "Fail", "PartialSuccess", "Stopping", "Stopped"},
          "a status of tasks", task["status"])
    check(isinstance(task["status_desc"], str), "status_desc is a text", task)
    check("app_id" not in task, "a task does not show app_id", task)
    progress = task["task_progress"]
    same(sorted(progress), sorted(COUNTERS), "all counters, and no others")
    same(sum(progress[name] for name in COUNTERS[1:]), progress["total"], f"the parts of {progress} add up")


def sound_detail(detail):
    """What is the same for all sub-tasks."""
    check(detail["status"] in {"Waitting", "Processing", "Success", "Fail", "FailWaitRetry", "Stopped", "Removed"},
          "a status of sub-tasks", detail)
    check(isinstance(detail["output"], str), "output is a text", detail)
    if detail["status"] in ("Fail", "FailWaitRetry"):
        looks(detail["error"]["error_code"], ERROR_CODE, "error_code of a sub-task")
        check(detail["error"]["error_msg"], "a failed sub-task says why", detail)
    else:
        check(detail.get("error") is None, "only failed sub-tasks have an error", detail)
