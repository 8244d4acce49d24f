"""Campaigns with devices that are there for real: from the first call to the last one, as an application runs them."""
import inspect
import threading

import huaweicloudsdkiotda.v5 as v5

from calls import group, has, put_in
from stage import ERROR_CODE, MARKER, TIME_WITH_MILLIS, Failed, check, looks, same, until

DEVICES, SUCCEED = 10, 8


# --- A whole campaign ---------------------------------------------------------------------------------------


def a_whole_campaign_runs_from_a_product_to_its_last_device(s):
    product = s.product()
    registered = [s.device(product) for _ in range(DEVICES)]
    ids = [device["device_id"] for device in registered]
    *good, bad, absent = ids
    key, digest = s.image("pump-2.0.0.bin", size=400_000)
    package = s.package(product, key=key, support_source_versions=["1.0.0"], custom_info="by night")
    there = {device["device_id"]: s.connect(device, code=4 if device["device_id"] == bad else 0) for device in registered[:-1]}
    statuses = lambda: [row["status"] for row in s.ask("list_devices", product_id=product, limit=50)["devices"]]
    until(lambda: True if statuses().count("ONLINE") == DEVICES - 1 else None, "all but one online")

    task = s.task(package, ids)
    s.refused(403, None, "delete_batch_task", task_id=task)
    shown, details = s.until_counted(task, success=SUCCEED, fail=1, processing=1)
    for device in there.values():
        if device.failure is not None:
            raise Failed("a device could not do as it was told") from device.failure
    same(shown["status"], "Processing", "one is still awaited")
    same(shown["targets"], ids, "the targets as they were said")
    same({device: detail["status"] for device, detail in details.items()},
         {**{device: "Success" for device in good}, bad: "Fail", absent: "Processing"}, "each target as it went")
    check(details[bad]["error"]["error_msg"], "the one that failed says why", details[bad])
    same([row for row in s.show(task, task_detail_status="Fail")[1]], [bad], "the failed one is found by its status")
    for device in [*good, bad]:
        one = there[device]
        same(one.fetched, [digest], "what it downloaded is what is in the bucket")
        [(event, notice)] = one.notices()
        same(event, "firmware_upgrade_v2", "packages from a bucket are told of in this way")
        has(notice, version="2.0.0", file_size=400_000, sign=digest, custom_info="by night")
    for device in good:
        runs = lambda: True if s.ask("show_device", device_id=device).get("fw_version") == "2.0.0" else None
        until(runs, "the new version at the device")
    has(s.ask("show_device", device_id=bad), fw_version="1.0.0", status="ONLINE")

    there[bad].code = 0
    same(s.ask("retry_batch_task", task_id=task, body=v5.BatchTargets(targets=[bad])),
         {"targets": [{"target": bad, "status": "success"}]}, "the failed one is run again")
    s.until_counted(task, success=SUCCEED + 1, fail=0, processing=1)
    same(there[bad].fetched, [digest, digest], "it downloaded it once more")
    same(s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets(targets=[absent])),
         {"targets": [{"target": absent, "status": "success"}]}, "the absent one is stopped")
    shown, details = s.until_status(task, "Success", "PartialSuccess", "Fail", "Stopped")
    has(shown["task_progress"], total=DEVICES, success=SUCCEED + 1, stopped=1)
    same(shown["status"], "Success", "all that were not stopped succeeded")
    same(details[absent]["status"], "Stopped", "and the absent one was stopped")
    [row] = s.ask("list_batch_tasks", task_type="firmwareUpgrade", limit=1)["batchtasks"]
    same((row["task_id"], row["status"], row["task_progress"]), (task, "Success", shown["task_progress"]), "the list agrees")
    same(sorted(s.pages("show_batch_task", "task_details", "target", DEVICES, task_id=task)), sorted(ids), "all are there")

    s.ask("delete_batch_task", task_id=task)
    s.refused(404, None, "show_batch_task", task_id=task)
    s.ask("delete_ota_package", package_id=package)
    for device in ids:
        s.ask("delete_device", device_id=device)
    s.ask("delete_product", product_id=product)
    s.refused(404, None, "show_product", product_id=product)


def says_why(found, words):
    """More words may follow."""
    check(found.startswith(words), f"the error begins with {words!r}", found)


# --- What becomes of a target -------------------------------------------------------------------------------


def online(s, product, **behaviour):
    """A device that is connected, and is known to be."""
    registered = s.device(product)
    device = s.connect(registered, **behaviour)
    until(lambda: True if s.ask("show_device", device_id=device.id)["status"] == "ONLINE" else None, "the device online")
    return device


def a_device_is_shown_as_it_comes_and_goes(s):
    device = online(s, s.product())
    device.say_versions(device.id)
    reported = lambda: found if (found := s.ask("show_device", device_id=device.id)).get("fw_version") else None
    shown = until(reported, "its versions")
    has(shown, fw_version="1.0.0", sw_version="1.0.0", status="ONLINE")
    looks(shown["active_time"], TIME_WITH_MILLIS, "active_time")
    looks(shown["connection_status_update_time"], TIME_WITH_MILLIS, "connection_status_update_time")
    [row] = s.ask("list_devices", node_id=shown["node_id"])["devices"]
    has(row, fw_version="1.0.0", sw_version="1.0.0", status="ONLINE")
    device.disconnect()
    until(lambda: True if s.ask("show_device", device_id=device.id)["status"] == "OFFLINE" else None, "the device offline")
    gone = s.ask("show_device", device_id=device.id)
    same(gone["active_time"], shown["active_time"], "active_time stays what it was")
    went = gone.get("connection_status_update_time")
    check(went is None or went > shown["connection_status_update_time"], "the other one is not taken for when it went", gone)


def a_frozen_device_is_cut_off_and_stays_out(s):
    device = online(s, s.product())
    s.ask("freeze_device", device_id=device.id)
    until(lambda: True if device.lost.is_set() else None, "the end of its connection")
    device.disconnect()
    check(device.connect() is not None, "it is not let in")
    has(s.ask("show_device", device_id=device.id), status="FROZEN")
    s.ask("unfreeze_device", device_id=device.id)
    same(device.connect(), None, "it is let in again")


def a_device_with_another_secret_has_to_use_it(s):
    device = online(s, s.product())
    reset = {"device_id": device.id, "action_id": "resetSecret"}
    s.ask("reset_device_secret", body=v5.ResetDeviceSecret(secret="another-secret", force_disconnect=True), **reset)
    until(lambda: True if device.lost.is_set() else None, "the end of its connection")
    device.disconnect()
    check(device.connect() is not None, "the old secret is not good any more")
    device.secret = "another-secret"
    same(device.connect(), None, "the new one is")
    s.ask("reset_device_secret", body=v5.ResetDeviceSecret(secret="a-third-secret", force_disconnect=False), **reset)
    device.say_versions(device.id)
    arrived = lambda: True if device.lost.is_set() or s.ask("show_device", device_id=device.id).get("fw_version") else None
    until(arrived, "its versions")
    check(not device.lost.is_set(), "the connection goes on")


def a_device_that_runs_the_version_already_succeeds_at_once(s):
    product = s.product()
    device, package = online(s, product, version="2.0.0"), s.package(product)
    task = s.task(package, [device.id])
    _, details = s.until_status(task, "Success")
    same(details[device.id]["output"], "The current version is the same as the target version", "it says so")
    same(device.notices(), [], "and was told nothing")
    s.ask("delete_batch_task", task_id=task)


def what_a_task_says_in_addition_reaches_the_device(s):
    product = s.product()
    device = online(s, product)
    package = s.package(product, kind="softwarePackage", version="3.3.0", custom_info="second sentence")
    task = s.task(package, [device.id], task_type="softwareUpgrade", need_confirm=True, task_ext_info={"ticket": "OPS-17"})
    s.until_dispatched(task)
    same(device.heard, [], "it is asked nothing before it is confirmed")
    s.ask("confirm_batch_task", task_id=task)  # without a body
    _, details = s.until_status(task, "Success")
    check(details[device.id]["output"], "a success says something", details)
    [(event, notice)] = device.notices()
    same(event, "software_upgrade_v2", "it is told of software")
    has(notice, version="3.3.0", custom_info="second sentence", task_ext_info={"ticket": "OPS-17"})
    until(lambda: True if s.ask("show_device", device_id=device.id).get("sw_version") == "3.3.0" else None, "the new version")
    same(s.ask("show_device", device_id=device.id)["fw_version"], "1.0.0", "the firmware is what it was")


def members_of_a_group_are_upgraded(s):
    product, one = s.product(), group(s)["group_id"]
    devices = [online(s, product) for _ in range(3)]
    for device in devices[:2]:
        put_in(s, one, device.id)
    task = s.task(s.package(product), targets_filter={"group_ids": [one]})
    shown, details = s.until_status(task, "Success")
    has(shown["task_progress"], total=2, success=2)
    same(sorted(details), sorted(device.id for device in devices[:2]), "its members, and nobody else")
    same(devices[2].notices(), [], "who is not in it was told nothing")


def a_task_in_which_some_failed_is_a_partial_success_and_may_be_retried(s):
    product = s.product()
    good, bad = online(s, product), online(s, product, code=7)
    task = s.task(s.package(product), [good.id, bad.id])
    shown, details = s.until_status(task, "PartialSuccess")
    has(shown["task_progress"], total=2, success=1, fail=1)
    says_why(details[bad.id]["error"]["error_msg"], "Integrity check failure for new downloaded package")
    s.refused(403, None, "stop_batch_task", task_id=task, body=v5.BatchTargets())
    s.refused(403, None, "confirm_batch_task", task_id=task, body=v5.BatchTargets())
    [row] = s.ask("retry_batch_task", task_id=task, body=v5.BatchTargets(targets=[good.id]))["targets"]
    same((row["target"], row["status"]), (good.id, "failure"), "what succeeded is not run again")
    looks(row["error_code"], ERROR_CODE, "error_code of a target")
    bad.code = 0
    same(s.ask("retry_batch_task", task_id=task, body=v5.BatchTargets()),
         {"targets": [{"target": bad.id, "status": "success"}]}, "all that failed are run again")
    s.until_status(task, "Success")
    s.refused(403, None, "retry_batch_task", task_id=task, body=v5.BatchTargets())
    s.ask("delete_batch_task", task_id=task)


def a_task_in_which_all_failed_has_failed(s):
    product = s.product()
    devices = [online(s, product, code=code) for code in (5, 9)]
    task = s.task(s.package(product), [device.id for device in devices])
    shown, details = s.until_status(task, "Fail")
    has(shown["task_progress"], total=2, fail=2)
    says_why(details[devices[0].id]["error"]["error_msg"], "Not enough storage for the new firmware package")
    says_why(details[devices[1].id]["error"]["error_msg"], "Out of memory during downloading process")
    s.ask("delete_batch_task", task_id=task)


def a_failed_target_waits_for_its_retry_and_may_be_stopped_meanwhile(s):
    product = s.product()
    device = online(s, product, code=10)
    task = s.task(s.package(product), [device.id], task_policy=v5.TaskPolicy(retry_count=1, retry_interval=1440))
    shown, details = s.until_counted(task, fail_wait_retry=1)
    same((shown["status"], details[device.id]["status"]), ("Processing", "FailWaitRetry"), "it is not over")
    says_why(details[device.id]["error"]["error_msg"], "Firmware update failed")
    s.pages("show_batch_task", "task_details", "target", 1, task_id=task, task_detail_status="FailWaitRetry")
    device.code = 0
    same(s.ask("retry_batch_task", task_id=task, body=v5.BatchTargets()),
         {"targets": [{"target": device.id, "status": "success"}]}, "it need not wait")
    s.until_status(task, "Success")

    other = online(s, product, code=10)
    task = s.task(s.package(product, version="3.0.0"), [other.id], task_policy=v5.TaskPolicy(retry_count=1, retry_interval=1440))
    s.until_counted(task, fail_wait_retry=1)
    same(s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets()),
         {"targets": [{"target": other.id, "status": "success"}]}, "it may be stopped")
    shown, _ = s.until_status(task, "Stopped")
    has(shown["task_progress"], stopped=1, fail_wait_retry=0)


def a_failed_target_is_run_again_by_itself_as_often_as_was_said(s):
    product = s.product()
    device = online(s, product, code=10)
    task = s.task(s.package(product), [device.id], task_policy=v5.TaskPolicy(retry_count=2, retry_interval=0))
    shown, details = s.until_status(task, "Fail")
    has(shown["task_progress"], total=1, fail=1)
    same(len(device.notices()), 3, "it was told three times")
    says_why(details[device.id]["error"]["error_msg"], "Firmware update failed")


def two_upgrades_of_one_device_at_once_are_a_conflict(s):
    product, hold = s.product(), threading.Event()
    device = online(s, product, hold=hold)
    first = s.task(s.package(product), [device.id])
    until(lambda: True if device.fetched else None, "the first upgrade under way")
    second = s.task(s.package(product, version="3.0.0"), [device.id])
    _, details = s.until_status(second, "Fail")
    says_why(details[device.id]["error"]["error_msg"], "Task Conflict")
    hold.set()
    s.until_status(first, "Success")


def children_are_upgraded_through_their_gateway(s):
    product = s.product()
    gateway = s.device(product)
    children = [s.device(product, gateway_id=gateway["device_id"])["device_id"] for _ in range(2)]
    link = s.connect(gateway, *children)
    task = s.task(s.package(product), children, task_mode="GATEWAY")
    shown, _ = s.until_status(task, "Success")
    same(shown["task_mode"], "GATEWAY", "the mode as it was said")
    for child in children:
        told = [paras for about, event, paras in link.heard if about == child]
        for paras in told:
            looks(paras["task_id"], MARKER, "task_id in what the gateway is told")
            same((paras["task_id"], paras["sub_device_count"]), (task, 2), "it is told which task, and of how many")
        check(len(told) >= 2, "it is asked and told", told)
        has(s.ask("show_device", device_id=child), fw_version="2.0.0", node_type="ENDPOINT")
    same(link.notices(), [], "the gateway itself is told nothing")


def a_version_that_is_not_supported_is_not_upgraded(s):
    product = s.product()
    device = online(s, product, version="0.9.0")
    task = s.task(s.package(product, support_source_versions=["1.0.0", "1.1.0"]), [device.id])
    s.until_status(task, "Fail")
    same(device.notices(), [], "it was told nothing")


def a_deleted_device_leaves_the_task(s):
    product = s.product()
    stays, goes = s.device(product)["device_id"], s.device(product)["device_id"]
    task = s.task(s.package(product), [stays, goes])
    s.until_counted(task, processing=2)
    s.ask("delete_device", device_id=goes)
    shown, details = s.until_counted(task, removed=1, processing=1, total=2)
    same(details[goes]["status"], "Removed", "it is not part of it any more")
    s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets())
    shown, _ = s.until_status(task, "Stopped")
    has(shown["task_progress"], total=2, stopped=1, removed=1)


def several_packages_are_chosen_by_the_version_that_runs(s):
    product = s.product()
    old, new = online(s, product, version="1.0.0"), online(s, product, version="1.5.0")
    packages = [s.package(product, version="2.0.0", support_source_versions=["1.5.0"]),
                s.package(product, version="1.5.0", support_source_versions=["1.0.0"])]
    task = s.task(None, [old.id, new.id], document={"package_ids": packages})
    s.until_status(task, "Success")
    same([notice["version"] for _, notice in new.notices()], ["2.0.0"], "the one for 1.5.0")
    same([notice["version"] for _, notice in old.notices()][:1], ["1.5.0"], "the one for 1.0.0")


# --- With a server that does not wait long ------------------------------------------------------------------


def a_device_that_never_comes_fails_after_its_time(s):
    product = s.product()
    device = s.device(product)["device_id"]
    task = s.task(s.package(product), [device])
    _, details = s.until_status(task, "Fail")
    says_why(details[device]["error"]["error_msg"], "Waiting for the device online timeout")
    s.ask("delete_batch_task", task_id=task)


def a_device_that_never_answers_fails_after_its_time(s):
    product = s.product()
    device = online(s, product, silent=True)
    task = s.task(s.package(product), [device.id])
    _, details = s.until_status(task, "Fail")
    says_why(details[device.id]["error"]["error_msg"], "Waiting for report device firmware version timeout")


IMPATIENT_RUNS = [a_device_that_never_comes_fails_after_its_time, a_device_that_never_answers_fails_after_its_time]
RUNS = [run for run in list(globals().values())
        if inspect.isfunction(run) and list(inspect.signature(run).parameters) == ["s"] and run not in IMPATIENT_RUNS]
