"""Every call that campaigns need, one at a time. The name of a run is what it holds to be true."""
import contextlib
import http.server
import inspect
import json
import os
import queue
import threading
from datetime import datetime, timedelta, timezone

import huaweicloudsdkiotda.v5 as v5
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkiotda.v5.region.iotda_region import IoTDARegion

from server import BUCKET
from stage import MARKER, PATIENCE_SECS, TIME, check, looks, same, without_nulls

UNKNOWN = "0" * 23 + "1"
# What campaigns need, and what ordinary applications call besides.
OFFERED = """
    create_product delete_product show_product list_products update_product
    add_device show_device delete_device list_devices update_device freeze_device unfreeze_device reset_device_secret
    reset_fingerprint change_gateway list_device_groups_by_device search_devices
    add_device_group list_device_groups show_device_group update_device_group delete_device_group
    create_or_delete_device_in_group show_devices_in_group tag_device untag_device list_resources_by_tags
    show_applications show_application add_application update_application delete_application
    create_ota_package list_ota_package_info show_ota_package delete_ota_package
    create_ota_module list_ota_modules show_ota_module update_ota_module delete_ota_module
    create_batch_task list_batch_tasks show_batch_task stop_batch_task retry_batch_task delete_batch_task confirm_batch_task
    create_routing_rule list_routing_rules show_routing_rule update_routing_rule delete_routing_rule
    create_rule_action list_rule_actions show_rule_action update_rule_action delete_rule_action
""".split()
SERVICES = [{
    "service_id": "Pump", "service_type": "Pump", "description": "what the pump can do", "option": "Optional",
    "properties": [
        {"property_name": "pressure", "data_type": "decimal", "required": True, "min": "0", "max": "16", "step": 0.5,
         "unit": "bar", "method": "R", "description": "at the outlet"},
        {"property_name": "mode", "data_type": "enum", "required": False, "enum_list": ["auto", "manual"], "max_length": 16,
         "method": "RW", "default_value": "auto"}],
    "commands": [{
        "command_name": "rinse",
        "paras": [{"para_name": "seconds", "data_type": "int", "required": True, "min": "1", "max": "60", "unit": "s"}],
        "responses": [{"response_name": "rinsed", "paras": [
            {"para_name": "result", "data_type": "string", "required": True, "max_length": 32}]}]}],
    "events": [{"event_type": "overpressure", "paras": [
        {"para_name": "peak", "data_type": "decimal", "required": True, "min": "0", "max": "40"}]}],
}]


def compact(moment):
    return moment.strftime("%Y%m%dT%H%M%SZ")


def now():
    return datetime.now(timezone.utc)


def has(found, **wanted):
    """All of these members with these values; others are not looked at."""
    same({name: found.get(name) for name in wanted}, wanted, "these members are as they should be")


# --- Who may ask --------------------------------------------------------------------------------------------


def a_wrong_secret_is_not_let_in(s):
    s.application(secret_key=s.server.key["secret_key"] + "0").refused(401, "IOTDA.000002", "list_products")


def an_unknown_access_key_is_not_let_in(s):
    s.application(access_key="NOBODY").refused(401, "IOTDA.000002", "list_products")


def another_project_in_the_path_is_not_allowed(s):
    other = s.application(project_id="f" * 24)
    other.refused(403, "IOTDA.000022", "list_products")
    other.refused(403, "IOTDA.000022", "create_product", body=v5.AddProduct(
        name="Pump", device_type="Pump", protocol_type="MQTT", data_format="json", service_capabilities=[]))
    other.refused(403, "IOTDA.000022", "delete_device", device_id="anything")


def a_client_that_was_told_no_project_is_told_so(s):
    if s.scheme == "SDK-HMAC-SHA256":  # with a region the client would ask the identity service first
        said = s.application(project_id=None).refused(403, None, "list_products")
        check("project" in said, "the message says what is missing", said)


def a_client_that_was_told_a_region_asks_for_its_project(s):
    with environment("HUAWEICLOUD_SDK_IAM_ENDPOINT", s.server.url):
        app = s.application(project_id=None, region=Region(f"region-{s.number}", s.server.url))
        app.ask("list_products")
    check(f"/v5/iot/{s.server.key['project_id']}/" in app.answer.request.url, "it was told its project", app.answer.request.url)


def a_client_is_pointed_here_by_its_environment(s):
    with environment("HUAWEICLOUD_SDK_REGION_IOTDA_CN_NORTH_4", s.server.url):
        s.application(region=IoTDARegion.value_of("cn-north-4")).ask("list_products")


@contextlib.contextmanager
def environment(name, value):
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def a_key_that_may_only_look_changes_nothing(s):
    looks_only = s.application(**s.server.make_key("viewer"))
    device = s.device(s.product())["device_id"]
    looks_only.ask("show_device", device_id=device)
    looks_only.refused(403, "IOTDA.000022", "delete_device", device_id=device)
    looks_only.refused(403, "IOTDA.000022", "add_device_group", body=v5.AddDeviceGroupDTO(name=s.name("group")))
    looks_only.refused(403, "IOTDA.000022", "stop_batch_task", task_id=UNKNOWN)


def a_revoked_key_is_not_let_in(s):
    key = s.server.make_key("operator")
    app = s.application(**key)
    app.ask("list_products")
    s.server.revoke_key(key["access_key"])
    app.refused(401, "IOTDA.000002", "list_products")


def a_request_of_an_hour_ago_is_not_let_in(s):
    for hours in (-1, 1):
        headers = {"X-Sdk-Date": compact(now() + timedelta(hours=hours))}
        s.refused(401, "IOTDA.000002", "list_products", headers)
    s.ask("list_products", {"X-Sdk-Date": compact(now() - timedelta(minutes=5))})


def a_preset_authorization_of_an_unknown_kind_is_not_let_in(s):
    if s.scheme == "SDK-HMAC-SHA256":
        own = s.application()
        own.scheme = "SDK-HMAC-SM3"  # the client sends what is preset as it is
        own.refused(401, None, "list_products", {
            "Authorization": "SDK-HMAC-SM3 Access=a, SignedHeaders=x-sdk-date, Signature=" + "0" * 64})


def further_headers_are_signed_and_do_no_harm(s):
    s.ask("list_products", {"X-Auth-Token": "none of ours", "X-Own": "  blanks around  "}, instance_id="one")


def texts_of_all_kinds_are_signed_in_paths_queries_and_bodies(s):
    same(s.ask("list_devices", device_name="设备 a+b&c/~*'()!%41=?#ü")["devices"], [], "nobody is called so")
    s.refused(404, None, "show_device", device_id="设备 a+b~*")
    product = s.ask("create_product", body=v5.AddProduct(
        name=s.name("水泵"), device_type="水泵", protocol_type="MQTT", data_format="json", service_capabilities=[],
        description='ä "quoted" \\ \u2028 😀'))
    has(s.ask("show_product", product_id=product["product_id"]), device_type="水泵", description='ä "quoted" \\ \u2028 😀')


def a_call_that_is_not_offered_says_so(s):
    s.refused(404, "IOTDA.000029", "list_certificates")
    s.refused(404, "IOTDA.000029", "batch_show_queue")
    s.refused(404, "IOTDA.000029", "show_device_shadow", device_id="any")
    s.refused(404, "IOTDA.000029", "create_message", device_id="any", body=v5.DeviceMessageRequest(message="hello"))
    s.refused(404, "IOTDA.000029", "create_access_code", body=v5.CreateAccessCodeRequestBody(type="AMQP"))
    s.refused(404, "IOTDA.000029", "list_batch_task_files")


# --- Resource spaces ----------------------------------------------------------------------------------------


def there_is_one_default_resource_space(s):
    [space] = s.ask("show_applications", default_app=True)["applications"]
    same(sorted(space), ["app_id", "app_name", "create_time", "default_app"], "all members")
    looks(space["app_id"], "[A-Za-z0-9_-]{1,36}", "app_id")
    looks(space["create_time"], TIME, "create_time")
    same(space["default_app"], True, "it is the default one")
    check(space in s.ask("show_applications")["applications"], "it is in the list of all")
    check(space not in s.ask("show_applications", default_app=False)["applications"], "it is not among the others")
    same(s.ask("show_application", app_id=space["app_id"]), space, "it is shown as it is listed")


def a_resource_space_is_made_renamed_and_deleted(s):
    name = s.name("north")
    made = s.ask("add_application", body=v5.AddApplication(app_name=name))
    same(sorted(made), ["app_id", "app_name", "create_time", "default_app"], "all members")
    has(made, app_name=name, default_app=False)
    looks(made["app_id"], "[A-Za-z0-9_-]{1,36}", "app_id")
    same(s.ask("show_application", app_id=made["app_id"]), made, "it is shown as it was made")
    check(made in s.ask("show_applications", default_app=False)["applications"], "it is among the others")
    s.refused(400, None, "add_application", body=v5.AddApplication(app_name=name))
    s.refused(400, "IOTDA.000006", "add_application", body=v5.AddApplication(app_name=""))
    other = s.name("south")
    same(s.ask("update_application", app_id=made["app_id"], body=v5.UpdateApplicationDTO(app_name=other)),
         {**made, "app_name": other}, "it has another name")
    product = s.product(app_id=made["app_id"])
    s.refused(403, None, "delete_application", app_id=made["app_id"])
    s.ask("delete_product", product_id=product)
    s.ask("delete_application", app_id=made["app_id"])
    s.refused(403, "IOTDA.001000", "show_application", app_id=made["app_id"])
    s.refused(403, "IOTDA.001000", "delete_application", app_id=made["app_id"])
    s.refused(403, None, "delete_application", app_id=s.app_id())


def things_are_in_the_resource_space_of_their_product(s):
    space = s.ask("add_application", body=v5.AddApplication(app_name=s.name("space")))
    app_id, app_name = space["app_id"], space["app_name"]
    product, elsewhere = s.product(app_id=app_id), s.product()
    has(s.ask("show_product", product_id=product, app_id=app_id), app_id=app_id, app_name=app_name)
    device, other = s.device(product), s.device(elsewhere)
    has(device, app_id=app_id, app_name=app_name)
    has(other, app_id=s.app_id())
    package = s.ask("create_ota_package", body=package_body(s, product, app_id=app_id))
    has(package, app_id=app_id)
    task = s.task(package["package_id"], [device["device_id"]], app_id=app_id)
    grouped = s.ask("add_device_group", body=v5.AddDeviceGroupDTO(name=s.name("group"), app_id=app_id))["group_id"]
    ids = lambda call, rows, name, **query: [row[name] for row in s.ask(call, app_id=app_id, **query)[rows]]
    same(ids("list_products", "products", "product_id"), [product], "its products")
    same(ids("list_devices", "devices", "device_id"), [device["device_id"]], "its devices")
    same(ids("list_device_groups", "device_groups", "group_id"), [grouped], "its groups")
    same(ids("list_ota_package_info", "packages", "package_id", package_type="firmwarePackage"), [package["package_id"]],
         "its packages")
    same(ids("list_batch_tasks", "batchtasks", "task_id", task_type="firmwareUpgrade"), [task], "its tasks")
    found = s.ask("search_devices", body=v5.SearchSql(sql=f"select * from device where app_id = '{app_id}'"))["devices"]
    same([row["device_id"] for row in found], [device["device_id"]], "its devices, searched for")
    missing = lambda call, **parameters: s.refused(404, None, call, **parameters)
    missing("show_product", product_id=elsewhere, app_id=app_id)
    missing("add_device", body=v5.AddDevice(node_id=s.name("node"), product_id=elsewhere, app_id=app_id))
    missing("create_ota_package", body=package_body(s, elsewhere, app_id=app_id))
    missing("create_batch_task", body=s.task_body(s.package(elsewhere), [other["device_id"]], app_id=app_id))


def an_unknown_resource_space_is_refused_everywhere(s):
    product, space = s.product(), "no-such-space"
    device = s.device(product)["device_id"]
    package = s.package(product)
    unknown = lambda call, **parameters: s.refused(403, "IOTDA.001000", call, **parameters)
    unknown("show_application", app_id=space)
    unknown("list_products", app_id=space)
    unknown("list_devices", app_id=space)
    unknown("list_device_groups", app_id=space)
    unknown("list_ota_package_info", app_id=space, package_type="firmwarePackage")
    unknown("list_batch_tasks", app_id=space, task_type="firmwareUpgrade")
    unknown("show_product", product_id=product, app_id=space)
    unknown("delete_product", product_id=product, app_id=space)
    unknown("create_product", body=v5.AddProduct(
        name="Pump", device_type="Pump", protocol_type="MQTT", data_format="json", service_capabilities=[], app_id=space))
    unknown("update_product", product_id=product, body=v5.UpdateProduct(name="Pump", app_id=space))
    unknown("add_device", body=v5.AddDevice(node_id="n", product_id=product, app_id=space))
    unknown("add_device_group", body=v5.AddDeviceGroupDTO(name=s.name("group"), app_id=space))
    unknown("create_ota_package", body=package_body(s, product, app_id=space))
    unknown("create_batch_task", body=s.task_body(package, [device], app_id=space))


def the_default_resource_space_may_be_named(s):
    space = s.app_id()
    product = s.product(app_id=space)
    device = s.device(product, app_id=space)
    has(device, app_id=space)
    has(s.ask("show_product", product_id=product, app_id=space), app_id=space)
    rows = s.ask("list_devices", product_id=product, app_id=space)["devices"]
    same([row["device_id"] for row in rows], [device["device_id"]], "listed")
    package = s.package(product)
    rows = s.ask("list_ota_package_info", package_type="firmwarePackage", product_id=product, app_id=space)["packages"]
    same([row["package_id"] for row in rows], [package], "listed")
    task = s.task(package, [device["device_id"]], app_id=space)
    listed = s.ask("list_batch_tasks", task_type="firmwareUpgrade", app_id=space, limit=1)["batchtasks"]
    same([row["task_id"] for row in listed], [task], "listed")


# --- Products -----------------------------------------------------------------------------------------------


def a_product_keeps_everything_that_was_said_of_it(s):
    said = {"product_id": s.name("own_id"), "name": s.name("Pump's(no.1)"), "device_type": "Pump", "protocol_type": "MQTT",
            "data_format": "json", "manufacturer_name": "acme", "industry": "water", "description": "the small one",
            "app_id": s.app_id(), "service_capabilities": SERVICES}
    made = s.ask("create_product", body=v5.AddProduct(**said))
    has(made, **said)
    same(sorted(made), sorted([*said, "app_name", "create_time"]), "all members")
    looks(made["create_time"], TIME, "create_time")
    same(s.ask("show_product", product_id=said["product_id"]), made, "it is shown as it was made")


def a_product_without_an_id_gets_one(s):
    made = s.ask("create_product", body=v5.AddProduct(
        name=s.name("Meter"), device_type="Meter", protocol_type="CoAP", data_format="binary", service_capabilities=[]))
    looks(made["product_id"], MARKER, "product_id")
    same(made["service_capabilities"], [], "an empty array stays one")
    has(made, protocol_type="CoAP", data_format="binary", app_id=s.app_id())


def products_are_listed_newest_first_and_page_by_page(s):
    name = s.name("Listed")
    made = [s.product(name=name, description="of five", service_capabilities=SERVICES) for _ in range(5)]
    same(s.pages("list_products", "products", "product_id", 5, product_name=name), made[::-1], "newest first")
    row = s.ask("list_products", product_name=name, limit=1)["products"][0]
    shown = s.ask("show_product", product_id=made[-1])
    same(row, {member: value for member, value in shown.items() if member != "service_capabilities"}, "rows have all but the model")
    same(s.ask("list_products", product_name=s.name("nobody"))["page"]["count"], 0, "none of another name")
    s.bad_pages("list_products")


def a_page_has_ten_rows_unless_asked_otherwise(s):
    name = s.name("Many")
    for _ in range(11):
        s.product(name=name)
    found = s.ask("list_products", product_name=name)
    same((len(found["products"]), found["page"]["count"]), (10, 11), "ten of eleven")


def a_product_is_changed_where_it_was_said(s):
    product = s.product(name=s.name("Old"), description="old", industry="water", service_capabilities=SERVICES)
    before = s.ask("show_product", product_id=product)
    changed = s.ask("update_product", product_id=product, body=v5.UpdateProduct(description="new"))
    same(changed, {**before, "description": "new"}, "the rest is as it was")
    name = s.name("New")
    everything = {"name": name, "device_type": "Valve", "protocol_type": "HTTP", "data_format": "binary",
                  "manufacturer_name": "other", "industry": "heat", "description": "other", "service_capabilities": []}
    changed = s.ask("update_product", product_id=product, body=v5.UpdateProduct(**everything))
    same(changed, {**before, **everything}, "everything but the id can be changed")
    same(s.ask("show_product", product_id=product), changed, "it is shown so")
    has(s.device(product), product_name=name)


def a_deleted_product_is_gone_and_one_with_devices_stays(s):
    product = s.product()
    device = s.device(product)["device_id"]
    s.refused((400, 403, 409), None, "delete_product", product_id=product)
    s.ask("delete_device", device_id=device)
    s.ask("delete_product", product_id=product, app_id=s.app_id())
    unknown_product(s, product)


def an_unknown_product_is_not_found(s):
    unknown_product(s, UNKNOWN)


def unknown_product(s, product):
    s.refused(404, None, "show_product", product_id=product)
    s.refused(404, None, "update_product", product_id=product, body=v5.UpdateProduct(name="Pump"))
    s.refused(404, None, "delete_product", product_id=product)


def a_wrong_product_is_refused(s):
    right = {"name": "Pump", "device_type": "Pump", "protocol_type": "MQTT", "data_format": "json", "service_capabilities": []}
    wrong = [{"name": None}, {"device_type": None}, {"protocol_type": None}, {"data_format": None}, {"service_capabilities": None},
             {"name": "a" * 65}, {"name": ""}, {"name": "a*b"}, {"device_type": "a" * 33}, {"protocol_type": "SMTP"},
             {"data_format": "xml"}, {"product_id": "a" * 37}, {"product_id": "a b"}, {"manufacturer_name": "a" * 33},
             {"industry": "a" * 65}, {"description": "a" * 129}]
    for members in wrong:
        s.refused(400, "IOTDA.000006", "create_product", body=v5.AddProduct(**without_nulls({**right, **members})))
    product = s.product()
    s.refused((400, 403, 409), None, "create_product", body=v5.AddProduct(**{**right, "product_id": product}))
    s.refused(400, "IOTDA.000006", "update_product", product_id=product, body=v5.UpdateProduct(protocol_type="SMTP"))


# --- Devices ------------------------------------------------------------------------------------------------


def a_device_keeps_everything_that_was_said_of_it(s):
    product = s.product()
    said = {"device_id": s.name("own-id"), "node_id": s.name("sn"), "device_name": "泵_1(hall)?'#.,&%@!-", "product_id": product,
            "description": "hall 1", "app_id": s.app_id(), "extension_info": {"line": 4, "of": ["a", {"b": None}]}}
    made = s.ask("add_device", body=v5.AddDevice(
        **said, auth_info=v5.AuthInfo(auth_type="SECRET", secret="s3cret-pump_0001", secure_access=True, timeout=0),
        shadow=[v5.InitialDesired(service_id="Pump", desired={"mode": "auto"})]))
    has(made, **said, gateway_id=said["device_id"], node_type="GATEWAY", status="INACTIVE", tags=[],
        product_name=s.ask("show_product", product_id=product)["name"])
    has(made["auth_info"], auth_type="SECRET", secret="s3cret-pump_0001", secure_access=True, timeout=0)
    looks(made["create_time"], TIME, "create_time")
    check(made["app_name"], "app_name is there")
    never = {"fw_version", "sw_version", "active_time", "connection_status_update_time", "device_sdk_version"}
    check(not never & {name for name, value in made.items() if value}, "what it never reported is not there", made)
    shown = s.ask("show_device", device_id=said["device_id"])
    check("timeout" not in shown["auth_info"], "timeout is told once", shown["auth_info"])
    has(shown["auth_info"], auth_type="SECRET", secret="s3cret-pump_0001", secure_access=True)
    without = lambda device: {name: value for name, value in device.items() if name != "auth_info"}
    same(without(shown), without(made), "it is shown as it was made")


def a_device_may_have_a_name_with_blanks(s):
    device = s.device(s.product(), device_name="pump 1")
    has(s.ask("show_device", device_id=device["device_id"]), device_name="pump 1")
    has(s.ask("update_device", device_id=device["device_id"], body=v5.UpdateDevice(device_name="pump 1 north")),
        device_name="pump 1 north")


def a_device_without_an_id_and_a_secret_gets_both(s):
    product = s.product()
    made = s.ask("add_device", body=v5.AddDevice(node_id="sn-1", product_id=product))
    has(made, device_id=f"{product}_sn-1", gateway_id=f"{product}_sn-1", node_id="sn-1", app_id=s.app_id())
    looks(made["auth_info"]["secret"], "[A-Za-z0-9_-]{8,32}", "the secret")
    same(made["auth_info"]["auth_type"], "SECRET", "it has a secret unless said otherwise")


def a_device_with_a_certificate_has_a_fingerprint_that_can_be_reset(s):
    product, first, second = s.product(), "dc0f1016f495157344ac5f1296335cff725ef22f", "ab" * 32
    made = s.device(product, auth_info=v5.AuthInfo(auth_type="CERTIFICATES", fingerprint=first, secure_access=True))
    has(made["auth_info"], auth_type="CERTIFICATES", fingerprint=first)
    check(not made["auth_info"].get("secret"), "it has no secret", made["auth_info"])
    device = made["device_id"]
    reset = s.ask("reset_fingerprint", device_id=device, body=v5.ResetFingerprint(
        fingerprint=second, force_disconnect=True, fingerprint_type="PRIMARY"))
    same(reset, {"device_id": device, "fingerprint": second, "fingerprint_type": "PRIMARY"}, "the answer says what it is now")
    same(s.ask("show_device", device_id=device)["auth_info"]["fingerprint"], second, "and the device too")
    reset = s.ask("reset_fingerprint", device_id=device, body=v5.ResetFingerprint())
    same((reset["device_id"], reset.get("fingerprint")), (device, None), "without one it is cleared")
    check(not s.ask("show_device", device_id=device)["auth_info"].get("fingerprint"), "and is gone")
    s.refused(400, "IOTDA.000006", "reset_fingerprint", device_id=device, body=v5.ResetFingerprint(fingerprint="xyz"))
    s.refused(404, "IOTDA.014000", "reset_fingerprint", device_id="nobody", body=v5.ResetFingerprint(fingerprint=first))


def a_device_behind_a_gateway_belongs_to_it(s):
    product = s.product()
    one = s.device(product)["device_id"]
    child = s.device(product, gateway_id=one)
    has(child, gateway_id=one, node_type="ENDPOINT", status="INACTIVE")
    child = child["device_id"]
    listed = lambda **filters: [row["device_id"] for row in s.ask("list_devices", **filters)["devices"]]
    same(listed(gateway_id=one), [child], "it is listed behind its gateway")
    same(listed(gateway_id=one, is_cascade_query=True), [child], "in cascade too")
    same(listed(gateway_id=one, is_cascade_query=False), [child], "and without")
    s.refused((400, 403, 409), None, "delete_device", device_id=one)
    s.refused(403, "IOTDA.014038", "freeze_device", device_id=child)
    s.refused((400, 403), None, "add_device", body=v5.AddDevice(node_id=s.name("n"), product_id=product, gateway_id=child))
    s.ask("delete_device", device_id=child)
    s.ask("delete_device", device_id=one)


def a_device_moves_from_one_gateway_to_another(s):
    product = s.product()
    one, other = (s.device(product)["device_id"] for _ in range(2))
    child = s.device(product, gateway_id=one)["device_id"]
    s.ask("change_gateway", device_id=child, body=v5.ChangeGateway(gateway_id=other))
    has(s.ask("show_device", device_id=child), gateway_id=other, node_type="ENDPOINT")
    behind = lambda gateway: [row["device_id"] for row in s.ask("list_devices", gateway_id=gateway)["devices"]]
    same((behind(one), behind(other)), ([], [child]), "it has moved")
    s.refused(404, "IOTDA.014000", "change_gateway", device_id="nobody", body=v5.ChangeGateway(gateway_id=other))
    s.refused((400, 403, 404), None, "change_gateway", device_id=child, body=v5.ChangeGateway(gateway_id="nobody"))
    s.ask("delete_device", device_id=one)


def devices_are_listed_newest_first_and_page_by_page(s):
    product = s.product()
    made = [s.device(product, device_name=s.name("one-of-five"), extension_info={"a": 1}) for _ in range(5)]
    ids = [device["device_id"] for device in made]
    same(s.pages("list_devices", "devices", "device_id", 5, product_id=product), ids[::-1], "newest first")
    listed = lambda **filters: [row["device_id"] for row in s.ask("list_devices", **filters)["devices"]]
    same(listed(node_id=made[1]["node_id"]), [ids[1]], "by node_id")
    same(listed(device_name=made[2]["device_name"]), [ids[2]], "by device_name")
    row = s.ask("list_devices", product_id=product, limit=1)["devices"][0]
    has(row, **{name: made[4][name] for name in ("app_id", "app_name", "device_id", "node_id", "gateway_id", "device_name",
                                                 "node_type", "product_id", "product_name", "status", "tags")})
    same(listed(product_id=UNKNOWN), [], "none of an unknown product")
    s.bad_pages("list_devices")


def devices_are_listed_by_when_they_were_registered(s):
    product = s.product()
    device = s.device(product)["device_id"]
    minute = timedelta(minutes=1)
    listed = lambda **filters: [row["device_id"] for row in s.ask("list_devices", product_id=product, **filters)["devices"]]
    same(listed(start_time=compact(now() - minute), end_time=compact(now() + minute)), [device], "in these two minutes")
    same(listed(start_time=compact(now() + minute)), [], "not later")
    same(listed(end_time=compact(now() - minute)), [], "not earlier")
    s.refused(400, "IOTDA.000009", "list_devices", start_time="yesterday")
    s.refused(400, "IOTDA.000010", "list_devices", start_time=compact(now()), end_time=compact(now() - minute))


def a_device_is_changed_where_it_was_said(s):
    device = s.device(s.product(), device_name="old", description="old", extension_info={"a": 1})["device_id"]
    before = s.ask("show_device", device_id=device)
    changed = s.ask("update_device", device_id=device, body=v5.UpdateDevice(device_name="new"))
    same(changed, {**before, "device_name": "new"}, "the rest is as it was")
    changed = s.ask("update_device", device_id=device, body=v5.UpdateDevice(
        description="other", extension_info={"b": [2]}, auth_info=v5.AuthInfoWithoutSecret(secure_access=True, timeout=3600)))
    has(changed, device_name="new", description="other", extension_info={"b": [2]})
    has(changed["auth_info"], secure_access=True, timeout=3600)
    shown = s.ask("show_device", device_id=device)
    has(shown, device_name="new", description="other", extension_info={"b": [2]})
    same(shown["auth_info"]["secure_access"], True, "it is shown so")
    s.refused(400, "IOTDA.000006", "update_device", device_id=device, body=v5.UpdateDevice(device_name="a" * 257))


def a_frozen_device_is_shown_so_until_it_is_unfrozen(s):
    device = s.device(s.product())["device_id"]
    s.refused(403, "IOTDA.014040", "unfreeze_device", device_id=device)
    s.ask("freeze_device", device_id=device)
    has(s.ask("show_device", device_id=device), status="FROZEN")
    s.ask("unfreeze_device", device_id=device)
    has(s.ask("show_device", device_id=device), status="INACTIVE")
    s.refused(403, "IOTDA.014040", "unfreeze_device", device_id=device)


def a_secret_is_reset_to_a_given_one_or_to_a_new_one(s):
    device = s.device(s.product())["device_id"]
    reset = lambda **members: s.ask(
        "reset_device_secret", device_id=device, action_id="resetSecret", body=v5.ResetDeviceSecret(**members))
    same(reset(secret="n3w-secret_0003", force_disconnect=False, secret_type="PRIMARY"),
         {"device_id": device, "secret": "n3w-secret_0003", "secret_type": "PRIMARY"}, "the answer says what it is now")
    made = reset()
    looks(made["secret"], "[A-Za-z0-9_-]{8,32}", "the new secret")
    has(made, device_id=device, secret_type="PRIMARY")
    wrong = {"device_id": device, "action_id": "resetSecret"}
    for secret in ("short", "a" * 33, "with blanks in it"):
        s.refused(400, "IOTDA.000006", "reset_device_secret", body=v5.ResetDeviceSecret(secret=secret), **wrong)
    s.refused(400, None, "reset_device_secret", device_id=device, action_id="other", body=v5.ResetDeviceSecret())


def a_deleted_device_is_gone_and_its_id_is_free(s):
    product = s.product()
    device = s.device(product, node_id="again")["device_id"]
    s.ask("delete_device", device_id=device)
    unknown_device(s, device)
    same(s.ask("list_devices", product_id=product)["devices"], [], "it is not listed")
    same(s.device(product, node_id="again")["device_id"], device, "its id is free again")


def devices_are_found_by_a_search(s):
    product, other = s.product(), s.product()
    devices = s.device_ids(product, 3)
    s.device_ids(other, 1)
    search = lambda sql: s.ask("search_devices", body=v5.SearchSql(sql=sql))
    rows = lambda rest: [row["device_id"] for row in search(f"select * from device where product_id = '{product}' {rest}")["devices"]]
    same(rows(""), devices[::-1], "the newest first")
    same(rows("order by marker asc limit 1,2"), devices[1:], "the oldest first, without the first")
    same(rows(f"and device_id != '{devices[1]}' or device_id = 'nobody'"), [devices[2], devices[0]], "and binds before or")
    same(rows("and status = 'ONLINE'"), [], "nobody is there")
    tag(s, devices[0], ring="canary")
    same(rows("and tag_key = 'ring' and tag_value = 'canary'"), devices[:1], "the one with this tag")
    same(search(f"select count(*) from device where product_id = '{product}'"), {"count": 3}, "all of the product")
    [row] = search(f"select * from device where device_id = '{devices[0]}'")["devices"]
    has(row, device_id=devices[0], product_id=product, gateway_id=devices[0], status="INACTIVE", node_type="GATEWAY")
    looks(row["marker"], MARKER, "marker of a row")
    for sql in ("select * from device where colour = 'red'", "select * from device limit 51", "delete from device"):
        s.refused(400, "IOTDA.000006", "search_devices", body=v5.SearchSql(sql=sql))


def an_unknown_device_is_not_found(s):
    unknown_device(s, "no-such-device")


def unknown_device(s, device):
    unknown = lambda call, **parameters: s.refused(404, "IOTDA.014000", call, device_id=device, **parameters)
    unknown("show_device")
    unknown("update_device", body=v5.UpdateDevice(device_name="a"))
    unknown("delete_device")
    unknown("freeze_device")
    unknown("unfreeze_device")
    unknown("reset_device_secret", action_id="resetSecret", body=v5.ResetDeviceSecret())
    unknown("list_device_groups_by_device")


def a_wrong_device_is_refused(s):
    product = s.product()
    taken = s.device(product)
    right = {"node_id": "fresh", "product_id": product}
    for members in ({"node_id": taken["node_id"]}, {"device_id": taken["device_id"]}):
        s.refused(400, "IOTDA.014031", "add_device", body=v5.AddDevice(**{**right, **members}))
    wrong = [{"node_id": None}, {"product_id": None}, {"node_id": "a" * 65}, {"node_id": "a b"}, {"node_id": ""},
             {"device_id": "a" * 129}, {"device_id": "a b"}, {"device_name": "a" * 257}, {"description": "a" * 2049},
             {"extension_info": {"a": "b" * 1025}},
             {"auth_info": v5.AuthInfo(auth_type="PASSWORD")}, {"auth_info": v5.AuthInfo(secret="short")},
             {"auth_info": v5.AuthInfo(secret="a" * 33)}, {"auth_info": v5.AuthInfo(auth_type="CERTIFICATES", fingerprint="ab")}]
    for members in wrong:
        s.refused(400, "IOTDA.000006", "add_device", body=v5.AddDevice(**without_nulls({**right, **members})))
    s.refused((400, 403, 404), None, "add_device", body=v5.AddDevice(**{**right, "product_id": UNKNOWN}))
    s.refused((400, 403, 404), None, "add_device", body=v5.AddDevice(**{**right, "gateway_id": "nobody"}))


# --- Groups and tags ----------------------------------------------------------------------------------------


def group(s, **members):
    return s.ask("add_device_group", body=v5.AddDeviceGroupDTO(**{"name": s.name("group"), **members}))


def put_in(s, group_id, device_id, action="addDevice"):
    s.ask("create_or_delete_device_in_group", group_id=group_id, action_id=action, device_id=device_id)


def a_group_is_made_shown_changed_and_deleted(s):
    name = s.name("canary")
    made = group(s, name=name, description="first ring", app_id=s.app_id())
    looks(made["group_id"], "[0-9a-fA-F-]{1,36}", "group_id")
    has(made, name=name, description="first ring")
    same(s.ask("show_device_group", group_id=made["group_id"]), made, "it is shown as it was made")
    other = s.name("canary-2")
    changed = s.ask("update_device_group", group_id=made["group_id"], body=v5.UpdateDeviceGroupDTO(name=other))
    same(changed, {**made, "name": other}, "the rest is as it was")
    changed = s.ask("update_device_group", group_id=made["group_id"], body=v5.UpdateDeviceGroupDTO(description="second ring"))
    same(changed, {**made, "name": other, "description": "second ring"}, "the rest is as it was")
    s.ask("delete_device_group", group_id=made["group_id"])
    unknown_group(s, made["group_id"])


def an_unknown_group_is_not_found(s):
    unknown_group(s, "5b9d3c1a-6f0e-4a2b-9c8d-7e6f5a4b3c2d")


def unknown_group(s, group_id):
    device = s.device(s.product())["device_id"]
    s.refused(404, None, "show_device_group", group_id=group_id)
    s.refused(404, None, "update_device_group", group_id=group_id, body=v5.UpdateDeviceGroupDTO(name="a"))
    s.refused(404, None, "delete_device_group", group_id=group_id)
    s.refused(404, None, "show_devices_in_group", group_id=group_id)
    s.refused(404, None, "create_or_delete_device_in_group", group_id=group_id, action_id="addDevice", device_id=device)


def a_wrong_group_is_refused(s):
    taken = group(s)
    s.refused((400, 403, 409), None, "add_device_group", body=v5.AddDeviceGroupDTO(name=taken["name"]))
    for members in ({"description": "no name"}, {"name": "a" * 65}, {"name": s.name("g"), "description": "a" * 65}):
        s.refused(400, "IOTDA.000006", "add_device_group", body=v5.AddDeviceGroupDTO(**members))
    device = s.device(s.product())["device_id"]
    s.refused(400, None, "create_or_delete_device_in_group", group_id=taken["group_id"], action_id="moveDevice", device_id=device)


def groups_are_listed_newest_first_and_page_by_page(s):
    word = s.name("listed")
    made = [group(s, name=f"{word}_{number}") for number in range(5)]
    everyone = s.ask("list_device_groups", limit=1)["page"]["count"]
    ids = s.pages("list_device_groups", "device_groups", "group_id", everyone)
    same(ids[:5], [one["group_id"] for one in made][::-1], "newest first")
    by_name = s.ask("list_device_groups", name=made[2]["name"])
    same([row["group_id"] for row in by_name["device_groups"]], [made[2]["group_id"]], "by name")
    same(by_name["page"]["count"], 1, "one of them")
    has(by_name["device_groups"][0], name=made[2]["name"])
    s.bad_pages("list_device_groups")


def members_of_a_group_are_listed_page_by_page(s):
    product, one = s.product(), group(s)["group_id"]
    same(s.ask("show_devices_in_group", group_id=one)["devices"], [], "at first there are none")
    devices = [s.device(product, device_name="in-a-group") for _ in range(5)]
    for device in devices:
        put_in(s, one, device["device_id"])
    found = s.pages("show_devices_in_group", "devices", "device_id", 5, group_id=one)
    same(sorted(found), sorted(device["device_id"] for device in devices), "all of them")
    rows = s.ask("show_devices_in_group", group_id=one)["devices"]
    wanted = {name: devices[0][name] for name in ("device_id", "node_id", "device_name", "product_id")}
    check(wanted in rows, "a row has these four members", rows)
    # Without a limit, by marker, until there is nothing: as a well-known caller does.
    seen, marker = [], None
    while page := s.ask("show_devices_in_group", group_id=one, **({"marker": marker} if marker else {}))["devices"]:
        seen += page
        marker = s.app.answer.json()["page"]["marker"]
    same(len(seen), 5, "it comes to an end")
    s.bad_pages("show_devices_in_group", group_id=one)


def a_device_joins_and_leaves_groups(s):
    device = s.device(s.product())["device_id"]
    one, other = group(s), group(s, description="the other one")
    groups_of = lambda: s.ask("list_device_groups_by_device", device_id=device)
    same(groups_of(), {"device_groups": []}, "at first it is in none")
    put_in(s, one["group_id"], device)
    put_in(s, other["group_id"], device)
    found = {row["group_id"]: row for row in groups_of()["device_groups"]}
    same(sorted(found), sorted([one["group_id"], other["group_id"]]), "it is in both")
    has(found[other["group_id"]], name=other["name"], description="the other one")
    put_in(s, one["group_id"], device, "removeDevice")
    same([row["group_id"] for row in groups_of()["device_groups"]], [other["group_id"]], "it has left one")
    same(s.ask("show_devices_in_group", group_id=one["group_id"])["devices"], [], "which knows it too")
    s.refused(404, "IOTDA.014000", "create_or_delete_device_in_group", group_id=one["group_id"], action_id="addDevice",
              device_id="nobody")


def tag(s, device_id, **tags):
    s.ask("tag_device", body=v5.BindTagsDTO(
        resource_type="device", resource_id=device_id, tags=[v5.TagV5DTO(name, value) for name, value in tags.items()]))


def tags_are_bound_overwritten_and_unbound(s):
    device = s.device(s.product())["device_id"]
    tags = lambda: {row["tag_key"]: row["tag_value"] for row in s.ask("show_device", device_id=device)["tags"]}
    tag(s, device, ring="canary", site="hall.1-a")
    same(tags(), {"ring": "canary", "site": "hall.1-a"}, "both are there")
    tag(s, device, ring="broad", 环="一")
    same(tags(), {"ring": "broad", "site": "hall.1-a", "环": "一"}, "a known one is overwritten")
    s.ask("untag_device", body=v5.UnbindTagsDTO(resource_type="device", resource_id=device, tag_keys=["site", "环"]))
    same(tags(), {"ring": "broad"}, "the others are gone")
    same(s.ask("list_devices", node_id=s.ask("show_device", device_id=device)["node_id"])["devices"][0]["tags"],
         [{"tag_key": "ring", "tag_value": "broad"}], "rows have them too")


def wrong_tags_are_refused(s):
    device = s.device(s.product())["device_id"]
    bind = lambda *tags, **other: {"body": v5.BindTagsDTO(**{"resource_type": "device", "resource_id": device, "tags": [
        v5.TagV5DTO(name, value) for name, value in tags], **other})}
    s.refused(400, "IOTDA.004002", "tag_device", **bind(("iot_own", "1")))
    s.refused(400, "IOTDA.000006", "tag_device", **bind(("a" * 65, "1")))
    s.refused(400, "IOTDA.000006", "tag_device", **bind(("a", "b" * 129)))
    s.refused(400, None, "tag_device", **bind(("a", "1"), resource_type="product"))
    s.refused(404, "IOTDA.014000", "tag_device", **bind(("a", "1"), resource_id="nobody"))
    s.ask("tag_device", **bind(*((f"key{number}", "1") for number in range(10))))
    s.refused((400, 403), None, "tag_device", **bind(("eleventh", "1")))
    same(len(s.ask("show_device", device_id=device)["tags"]), 10, "ten are there")
    s.refused(404, "IOTDA.014000", "untag_device", body=v5.UnbindTagsDTO(
        resource_type="device", resource_id="nobody", tag_keys=["a"]))


def devices_are_found_by_any_of_several_tags(s):
    product, word = s.product(), s.name("ring")
    devices = s.device_ids(product, 5)
    for number, device in enumerate(devices):
        tag(s, device, **{word: f"v{number}"})
    query = lambda *values: v5.QueryResourceByTagsDTO(
        resource_type="device", tags=[v5.TagV5DTO(word, value) for value in values])
    find = lambda *values: s.ask("list_resources_by_tags", limit=50, body=query(*values))
    same([row["resource_id"] for row in find("v3")["resources"]], [devices[3]], "one of them")
    same(sorted(row["resource_id"] for row in find("v1", "v3")["resources"]), sorted([devices[1], devices[3]]), "either of two")
    same((find("none")["resources"], find("none")["page"]["count"]), ([], 0), "none of them")
    everyone = query(*(f"v{number}" for number in range(5)))
    found = s.pages("list_resources_by_tags", "resources", "resource_id", 5, body=everyone)
    same(sorted(found), sorted(devices), "all of them")
    s.bad_pages("list_resources_by_tags", body=everyone)


# --- Packages -----------------------------------------------------------------------------------------------


def package_body(s, product_id, location=None, /, **members):
    where = {"region_name": "local", "bucket_name": BUCKET, **(location or {})}
    if "object_key" not in where:
        where["object_key"] = s.image("image.bin")[0]
    smallest = {"app_id": s.app_id(), "package_type": "firmwarePackage", "product_id": product_id, "version": "2.0.0",
                "file_location": v5.FileLocation(v5.ObsLocation(**without_nulls(where)))}
    return v5.CreateOtaPackage(**without_nulls({**smallest, **members}))


def a_package_keeps_everything_that_was_said_of_it(s):
    product = s.product()
    key, digest = s.image("fw-2.0.0.bin")
    location = {"region_name": "cn-north-4", "bucket_name": BUCKET, "object_key": key, "sign_method": "SHA256", "sign": digest}
    said = {"app_id": s.app_id(), "package_type": "firmwarePackage", "product_id": product, "version": "V2.0.0_a-b",
            "support_source_versions": ["1.0.0", "1.1.0"], "description": "winter", "custom_info": '{"reboot": "night"}'}
    made = s.ask("create_ota_package", body=v5.CreateOtaPackage(
        **said, file_location=v5.FileLocation(v5.ObsLocation(**location))))
    same(sorted(made), sorted([*said, "file_location", "package_id", "product_name", "create_time"]), "all members")
    has(made, **said, file_location={"obs_location": location}, product_name=s.ask("show_product", product_id=product)["name"])
    looks(made["package_id"], "[A-Za-z0-9-]{1,36}", "package_id")
    looks(made["create_time"], TIME, "create_time")
    same(s.ask("show_ota_package", package_id=made["package_id"]), made, "it is shown as it was made")
    [row] = s.ask("list_ota_package_info", package_type="firmwarePackage", product_id=product)["packages"]
    same(row, {name: value for name, value in made.items() if name != "file_location"}, "rows have all but the location")


def a_package_needs_no_more_than_where_its_image_is(s):
    made = s.ask("create_ota_package", body=package_body(s, s.product(), package_type="softwarePackage", version="3.3.0"))
    has(made, package_type="softwarePackage", version="3.3.0")
    same(sorted(made["file_location"]["obs_location"]), ["bucket_name", "object_key", "region_name"], "the location as it was said")
    same(s.ask("show_ota_package", package_id=made["package_id"]), made, "it is shown as it was made")


def packages_are_listed_newest_first_and_page_by_page(s):
    product = s.product()
    made = [s.package(product, version=f"2.0.{number}") for number in range(5)]
    software = s.package(product, version="2.0.1", kind="softwarePackage")
    listed = lambda number, kind="firmwarePackage", **filters: s.pages(
        "list_ota_package_info", "packages", "package_id", number, product_id=product, package_type=kind, **filters)
    same(listed(5), made[::-1], "newest first")
    same(listed(1, version="2.0.1"), [made[1]], "of one version")
    same(listed(1, "softwarePackage"), [software], "of the other type")
    s.bad_pages("list_ota_package_info", package_type="firmwarePackage")
    s.refused(400, "IOTDA.000006", "list_ota_package_info", product_id=product)
    s.refused(400, "IOTDA.000006", "list_ota_package_info", package_type="hardwarePackage")


def a_deleted_package_is_gone_and_its_image_is_left_alone(s):
    key, _ = s.image("fw.bin")
    package = s.package(s.product(), key=key)
    s.ask("delete_ota_package", package_id=package)
    s.refused(404, None, "show_ota_package", package_id=package)
    s.refused(404, None, "delete_ota_package", package_id=package)
    check(os.path.exists(os.path.join(s.server.bucket, key)), "the image is there")


def a_wrong_package_is_refused(s):
    product = s.product()
    wrong = lambda *location, **members: s.refused(
        400, "IOTDA.000006", "create_ota_package", body=package_body(s, product, *location, **members))
    wrong(app_id=None)
    wrong(package_type=None)
    wrong(package_type="hardwarePackage")
    wrong(product_id=None)
    wrong(version=None)
    wrong(version="")
    wrong(version="a b")
    wrong(version="a" * 257)
    wrong(support_source_versions=["1.0"] * 21)
    wrong(support_source_versions=["a b"])
    wrong(description="a" * 1025)
    wrong(custom_info="a" * 4097)
    wrong(file_location=None)
    wrong(file_location=v5.FileLocation())
    wrong({"bucket_name": None})
    wrong({"bucket_name": "AB"})
    wrong({"region_name": None})
    wrong({"region_name": "a_b"})
    wrong({"object_key": ""})
    wrong({"sign_method": "MD5"})
    wrong({"sign": "abc"})
    s.refused((400, 403, 404), None, "create_ota_package", body=package_body(s, UNKNOWN))


def an_image_has_to_be_where_it_is_said_to_be(s):
    product = s.product()
    refused = lambda **location: s.refused(400, None, "create_ota_package", body=package_body(s, product, location))
    refused(object_key="no/such/image.bin")
    refused(bucket_name="no-such-bucket")
    refused(bucket_name="otaru", object_key="0" * 64)
    refused(object_key="../" + BUCKET + "/" + s.image("image.bin")[0])
    refused(object_key=s.image("image.bin")[0].replace("/", "/../../" + BUCKET + "/"))
    refused(object_key=os.path.join(s.server.bucket, s.image("image.bin")[0]))
    refused(object_key="/" + s.image("image.bin")[0])
    refused(object_key=s.image("image.bin")[0].split("/")[0])
    outside = os.path.join(os.path.dirname(s.server.bucket), s.name("outside") + ".bin")
    with open(outside, "wb") as file:
        file.write(b"not in the bucket")
    link = s.name("link") + ".bin"
    os.symlink(outside, os.path.join(s.server.bucket, link))
    refused(object_key=link)


# --- Modules ------------------------------------------------------------------------------------------------


def module(s, product, **members):
    smallest = {"app_id": s.app_id(), "product_id": product, "module_name": s.name("mcu")}
    return s.ask("create_ota_module", body=v5.CreateOtaModule(**{**smallest, **members}))


def a_module_is_registered_shown_changed_and_deleted(s):
    product = s.product()
    said = {"app_id": s.app_id(), "product_id": product, "module_name": "mcu", "alias_name": "motor 电机", "description": "STM32"}
    made = module(s, product, **said)
    same(sorted(made), sorted([*said, "module_id", "product_name", "create_time"]), "all members")
    has(made, **said, product_name=s.ask("show_product", product_id=product)["name"])
    looks(made["create_time"], TIME, "create_time")
    same(s.ask("show_ota_module", module_id=made["module_id"]), made, "it is shown as it was made")
    changed = s.ask("update_ota_module", module_id=made["module_id"], body=v5.UpdateOtaModule(alias_name="MCU"))
    same(changed, {**made, "alias_name": "MCU"}, "only the alias is another one")
    s.ask("delete_ota_module", module_id=made["module_id"])
    for call in ("show_ota_module", "delete_ota_module"):
        s.refused(404, None, call, module_id=made["module_id"])
    s.refused(404, None, "update_ota_module", module_id=made["module_id"], body=v5.UpdateOtaModule(alias_name="MCU"))


def modules_are_listed_newest_first_and_page_by_page(s):
    product = s.product()
    made = [module(s, product)["module_id"] for _ in range(5)]
    where = {"app_id": s.app_id(), "product_id": product}
    same(s.pages("list_ota_modules", "modules", "module_id", 5, **where), made[::-1], "newest first")
    s.bad_pages("list_ota_modules", **where)
    s.refused(403, "IOTDA.001000", "list_ota_modules", app_id="no-such-space")


def a_wrong_module_is_refused(s):
    product = s.product()
    wrong = lambda status, code, **members: s.refused(status, code, "create_ota_module", body=v5.CreateOtaModule(
        **{"app_id": s.app_id(), "product_id": product, "module_name": "mcu", **members}))
    wrong(400, "IOTDA.000006", module_name="a b")
    wrong(400, "IOTDA.000006", module_name="a" * 65)
    wrong(400, "IOTDA.000006", alias_name="a" * 65)
    wrong(400, "IOTDA.000006", description="a" * 1025)
    wrong(404, None, product_id=UNKNOWN)
    module(s, product, module_name="mcu")
    wrong(400, None)
    for _ in range(9):
        module(s, product)
    wrong(403, None, module_name="more")


def modules_are_registered_and_not_upgraded(s):
    product = s.product()
    module(s, product, module_name="mcu")
    body = package_body(s, product, package_type="modulePackage")
    check("no message to a device" in s.refused(400, "IOTDA.000006", "create_ota_package", body=body), "it says why")
    same(s.ask("list_ota_package_info", package_type="modulePackage")["packages"], [], "there are none")
    task = s.task_body(s.package(product), [s.device(product)["device_id"]], task_type="moduleUpgrade")
    check("no message to a device" in s.refused(400, "IOTDA.000006", "create_batch_task", body=task), "it says why")


# --- Tasks --------------------------------------------------------------------------------------------------


def a_task_is_answered_with_what_was_said(s):
    product = s.product()
    devices, package = s.device_ids(product, 3), s.package(product)
    said = {"task_name": s.name("任务"), "task_type": "firmwareUpgrade", "need_confirm": True, "targets": devices,
            "task_ext_info": {"ticket": "OPS-17", "window": ["night"]}, "document": {"package_ids": [package]}}
    made = s.ask("create_batch_task", body=v5.CreateBatchTask(
        **said, task_policy=v5.TaskPolicy(retry_count=2, retry_interval=30), app_id=s.app_id()))
    wanted = {**said, "task_policy": {"retry_count": 2, "retry_interval": 30}}
    has(made, **wanted)
    same(sorted(made), sorted([*wanted, "task_id", "status", "status_desc", "task_progress", "create_time"]), "all members")
    check(made["status"] in ("Initializing", "Waitting"), "nothing has begun", made["status"])
    shown, details = s.until_dispatched(made["task_id"])
    changing = ("status", "task_progress")
    same({name: shown[name] for name in shown if name not in changing}, {name: made[name] for name in made if name not in changing},
         "it is shown as it was made")
    same(sorted(details), sorted(devices), "each target has its sub-task")
    [row] = s.ask("list_batch_tasks", task_type="firmwareUpgrade", limit=1)["batchtasks"]
    same(row["task_id"], made["task_id"], "it is the first in the list")
    without_targets = lambda task: {name: value for name, value in task.items() if name != "targets"}
    same(without_targets(row), without_targets(shown), "it is listed as it is shown")


def what_was_not_said_of_a_task_is_not_there(s):
    product = s.product()
    [device], package = s.device_ids(product, 1), s.package(product)
    made = s.ask("create_batch_task", body=v5.CreateBatchTask(
        task_name=s.name("t"), task_type="firmwareUpgrade", targets=[device], document={"package_id": package}, document_source=""))
    absent = {"task_mode", "need_confirm", "task_ext_info", "targets_filter", "task_policy"}
    check(not absent & set(made), "none of these", made)
    same(made["document"], {"package_id": package}, "the package is named as it was")


def a_task_for_later_waits_and_can_be_stopped_and_deleted(s):
    product = s.product()
    devices, package = s.device_ids(product, 2), s.package(product)
    later = compact(now() + timedelta(days=6))
    task = s.task(package, devices, task_policy=v5.TaskPolicy(schedule_time=later))
    shown, details = s.until_status(task, "Waitting")
    same(shown["task_policy"], {"schedule_time": later}, "the time as it was said")
    has(shown["task_progress"], total=2, waitting=2)
    same({detail["status"] for detail in details.values()}, {"Waitting"}, "both wait")
    s.refused(403, None, "delete_batch_task", task_id=task)
    s.refused(403, None, "retry_batch_task", task_id=task, body=v5.BatchTargets())
    stopped = s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets())
    same(sorted(row["target"] for row in stopped["targets"]), sorted(devices), "both are stopped")
    same({row["status"] for row in stopped["targets"]}, {"success"}, "in lower case")
    shown, details = s.until_status(task, "Stopped")
    has(shown["task_progress"], total=2, stopped=2)
    same({detail["status"] for detail in details.values()}, {"Stopped"}, "both are stopped")
    for call in ("stop_batch_task", "retry_batch_task", "confirm_batch_task"):
        s.refused(403, None, call, task_id=task, body=v5.BatchTargets())
    s.ask("delete_batch_task", task_id=task)
    unknown_task(s, task)


def a_task_for_a_group_is_for_its_members(s):
    product, one, other = s.product(), group(s)["group_id"], group(s)["group_id"]
    devices, package = s.device_ids(product, 4), s.package(product)
    for device in devices[:2]:
        put_in(s, one, device)
    for device in devices[1:3]:
        put_in(s, other, device)
    task = s.task(package, targets_filter={"group_ids": [one, other]}, need_confirm=True)
    shown, details = s.until_dispatched(task)
    same(shown["targets_filter"], {"group_ids": [one, other]}, "the groups as they were said")
    check("targets" not in shown, "there are no targets", shown)
    same(sorted(details), sorted(devices[:3]), "each member once")
    same(shown["task_progress"]["total"], 3, "three in all")


def targets_come_before_groups(s):
    product, one = s.product(), group(s)["group_id"]
    (first, second), package = s.device_ids(product, 2), s.package(product)
    put_in(s, one, second)
    task = s.task(package, [first], targets_filter={"group_ids": [one]}, need_confirm=True)
    same(sorted(s.until_dispatched(task)[1]), [first], "the groups are ignored")


def a_task_that_needs_confirmation_waits_for_it(s):
    product = s.product()
    devices, package = s.device_ids(product, 4), s.package(product)
    task = s.task(package, devices, need_confirm=True)
    shown, _ = s.until_dispatched(task)
    same(shown["status"], "Waitting", "nothing is dispatched")
    has(shown["task_progress"], total=4, waitting=4)
    confirmed = s.ask("confirm_batch_task", task_id=task, body=v5.BatchTargets(targets=[devices[0]]))
    same(confirmed, {"targets": [{"target": devices[0], "status": "success"}]}, "one is confirmed")
    shown, details = s.until_counted(task, processing=1, waitting=3)
    same((shown["status"], details[devices[0]]["status"]), ("Processing", "Processing"), "it has begun")
    [again] = s.ask("confirm_batch_task", task_id=task, body=v5.BatchTargets(targets=[devices[0]]))["targets"]
    failed_target(again, devices[0])
    confirmed = s.ask("confirm_batch_task", task_id=task, body=v5.BatchTargets())
    same(sorted(row["target"] for row in confirmed["targets"]), sorted(devices[1:]), "all that wait are confirmed")
    s.until_counted(task, processing=4, waitting=0)


def failed_target(row, device, code=None):
    same((row["target"], row["status"]), (device, "failure"), "this target failed")
    looks(row["error_code"], r"IOTDA\.\d{6}", "error_code of a target")
    check(code in (None, row["error_code"]) and row["error_msg"], f"it says {code} and why", row)


def a_task_is_stopped_target_by_target_or_as_a_whole(s):
    product = s.product()
    devices, package = s.device_ids(product, 4), s.package(product)
    task = s.task(package, devices)
    s.until_counted(task, processing=4)
    stop = lambda *targets: {row["target"]: row for row in s.ask(
        "stop_batch_task", task_id=task, body=v5.BatchTargets(targets=list(targets)))["targets"]}
    same(stop(devices[0]), {devices[0]: {"target": devices[0], "status": "success"}}, "one is stopped")
    shown, _ = s.until_counted(task, processing=3, stopped=1)
    same(shown["status"], "Processing", "the others go on")
    mixed = stop(devices[0], devices[1], "nobody")
    failed_target(mixed[devices[0]], devices[0], "IOTDA.014219")
    same(mixed[devices[1]], {"target": devices[1], "status": "success"}, "another one is stopped")
    failed_target(mixed["nobody"], "nobody")
    s.refused(400, None, "stop_batch_task", task_id=task, body=v5.BatchTargets(targets=[]))
    s.refused(400, "IOTDA.000006", "stop_batch_task", task_id=task, body=v5.BatchTargets(targets=[f"d{n}" for n in range(101)]))
    s.until_counted(task, processing=2, stopped=2)
    rest = s.ask("stop_batch_task", task_id=task)  # without a body
    same(sorted(row["target"] for row in rest["targets"]), sorted(devices[2:]), "the rest is stopped")
    s.until_status(task, "Stopped")
    s.ask("delete_batch_task", task_id=task)


def a_stopped_target_can_be_run_again_while_its_task_goes_on(s):
    product = s.product()
    devices, package = s.device_ids(product, 2), s.package(product)
    task = s.task(package, devices)
    s.until_counted(task, processing=2)
    s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets(targets=[devices[0]]))
    s.until_counted(task, processing=1, stopped=1)
    [refused] = s.ask("retry_batch_task", task_id=task, body=v5.BatchTargets(targets=[devices[1]]))["targets"]
    failed_target(refused, devices[1])
    again = s.ask("retry_batch_task", task_id=task, body=v5.BatchTargets(targets=[devices[0]]))
    same(again, {"targets": [{"target": devices[0], "status": "success"}]}, "it is run again")
    s.until_counted(task, processing=2, stopped=0)
    s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets(targets=[devices[1]]))
    s.until_counted(task, processing=1, stopped=1)
    again = s.ask("retry_batch_task", task_id=task, body=v5.BatchTargets())
    same(again, {"targets": [{"target": devices[1], "status": "success"}]}, "without targets those that were stopped are run again")
    s.until_counted(task, processing=2, stopped=0)


def sub_tasks_are_filtered_and_shown_page_by_page(s):
    product = s.product()
    devices, package = s.device_ids(product, 6), s.package(product)
    task = s.task(package, devices, need_confirm=True)
    s.until_counted(task, waitting=6)
    s.ask("confirm_batch_task", task_id=task, body=v5.BatchTargets(targets=devices[:1]))
    s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets(targets=devices[1:3]))
    s.until_counted(task, processing=1, stopped=2, waitting=3)
    pages = lambda number, **filters: s.pages("show_batch_task", "task_details", "target", number, task_id=task, **filters)
    same(sorted(pages(6)), sorted(devices), "all of them")
    same(sorted(pages(3, task_detail_status="Waitting")), sorted(devices[3:]), "those that wait")
    same(sorted(pages(2, task_detail_status="Stopped")), sorted(devices[1:3]), "those that were stopped")
    same(pages(1, task_detail_status="Processing"), devices[:1], "the one that runs")
    same(pages(1, target=devices[4]), [devices[4]], "one by its id")
    for status in ("Success", "Fail", "FailWaitRetry", "Removed"):
        same(pages(0, task_detail_status=status), [], f"none in {status}")
    same(pages(0, target=devices[4], task_detail_status="Stopped"), [], "not this one in that state")
    same(pages(0, target="nobody"), [], "not somebody else")
    s.ask("delete_device", device_id=devices[1])
    same(pages(1, target=devices[1]), [devices[1]], "one that was deleted stays in its task")
    shown, _ = s.show(task, task_detail_status="Stopped")
    has(shown["task_progress"], total=6, processing=1, stopped=2, waitting=3)
    s.bad_pages("show_batch_task", task_id=task)
    s.refused(400, "IOTDA.000006", "show_batch_task", task_id=task, task_detail_status="Waiting")


def tasks_are_listed_newest_first_and_page_by_page(s):
    product = s.product()
    [device], package = s.device_ids(product, 1), s.package(product, kind="softwarePackage")
    made = [s.task(package, [device], task_type="softwareUpgrade", need_confirm=True) for _ in range(3)]
    for task in made:
        s.until_dispatched(task)
    everyone = s.ask("list_batch_tasks", task_type="softwareUpgrade", limit=1)["page"]["count"]
    ids = s.pages("list_batch_tasks", "batchtasks", "task_id", everyone, task_type="softwareUpgrade")
    same(ids[:3], made[::-1], "newest first")
    same(ids, sorted(ids, reverse=True), "ids grow with time")
    others = s.ask("list_batch_tasks", task_type="firmwareUpgrade", limit=50)["batchtasks"]
    check(not set(made) & {row["task_id"] for row in others}, "they are not of the other type", others)
    s.ask("stop_batch_task", task_id=made[1], body=v5.BatchTargets())
    s.until_status(made[1], "Stopped")
    of = lambda status: [row["task_id"] for row in s.ask(
        "list_batch_tasks", task_type="softwareUpgrade", status=status, limit=50)["batchtasks"]]
    check(made[1] in of("Stopped") and made[0] not in of("Stopped"), "the one that was stopped")
    check(made[1] not in of("Waitting") and made[0] in of("Waitting"), "the others wait")
    behind = s.ask("list_batch_tasks", task_type="softwareUpgrade", marker=made[2], limit=1)["batchtasks"]
    same([row["task_id"] for row in behind], [made[1]], "an id of a task is a marker")
    s.bad_pages("list_batch_tasks", task_type="softwareUpgrade")
    s.refused(400, "IOTDA.000006", "list_batch_tasks")
    s.refused(400, "IOTDA.000006", "list_batch_tasks", task_type="softwareUpgrade", status="Waiting")


def a_wrong_task_is_refused(s):
    product = s.product()
    devices, package = s.device_ids(product, 1), s.package(product)
    refused = lambda **members: s.refused(
        400, "IOTDA.000006", "create_batch_task", body=s.task_body(package, **{"targets": devices, **members}))
    policy = lambda **members: refused(task_policy=v5.TaskPolicy(**members))
    policy(retry_count=2)
    policy(retry_interval=30)
    policy(retry_count=6, retry_interval=30)
    policy(retry_count=-1, retry_interval=30)
    policy(retry_count=2, retry_interval=1441)
    policy(schedule_time=compact(now() - timedelta(minutes=5)))
    policy(schedule_time=compact(now() + timedelta(days=7, minutes=5)))
    refused(task_name="with-hyphen")
    refused(task_name="with blank")
    refused(task_name="")
    refused(task_name="a" * 129)
    refused(task_mode="DEVICE")
    refused(task_ext_info={"a": "b" * 513})
    refused(document={})
    refused(document={"package_ids": []})
    refused(targets=[])
    refused(targets=None)
    refused(task_type="softwareUpgrade")  # the package is firmware
    refused(task_type="hardwareUpgrade")
    said = refused(task_type="createDevices")
    check("createDevices" in said, "a type that is not offered is named", said)
    s.refused(400, None, "create_batch_task", body=s.task_body(package, devices, task_policy=v5.TaskPolicy(schedule_time="soon")))
    s.refused(404, None, "create_batch_task", body=s.task_body(UNKNOWN, devices))
    s.refused((400, 403, 404), None, "create_batch_task", body=s.task_body(package, targets_filter={"group_ids": [UNKNOWN]}))
    newest = s.ask("list_batch_tasks", task_type="firmwareUpgrade", limit=1)["batchtasks"]
    check(all(row["document"] != {"package_ids": [package]} for row in newest), "none of them was made", newest)


def an_unknown_task_is_not_found(s):
    unknown_task(s, UNKNOWN)


def unknown_task(s, task):
    s.refused(404, None, "show_batch_task", task_id=task)
    s.refused(404, None, "delete_batch_task", task_id=task)
    for call in ("stop_batch_task", "retry_batch_task", "confirm_batch_task"):
        s.refused(404, None, call, task_id=task, body=v5.BatchTargets())


def targets_that_cannot_be_upgraded_fail_with_a_reason(s):
    product, other = s.product(), s.product()
    [right], [foreign], package = s.device_ids(product, 1), s.device_ids(other, 1), s.package(product)
    task = s.task(package, [right, foreign, "nobody"])
    shown, details = s.until_counted(task, total=3, fail=2, processing=1)
    same(shown["status"], "Processing", "the one that is right goes on")
    same((details[foreign]["status"], details["nobody"]["status"]), ("Fail", "Fail"), "the others failed")
    same(shown["targets"], [right, foreign, "nobody"], "the targets as they were said")
    alone = s.task(package, ["nobody"])
    shown, _ = s.until_status(alone, "Fail")
    has(shown["task_progress"], total=1, fail=1)
    s.ask("delete_batch_task", task_id=alone)


def packages_of_several_products_are_refused(s):
    pump, valve = s.product(), s.product()
    devices, packages = s.device_ids(pump, 1) + s.device_ids(valve, 1), [s.package(pump), s.package(valve)]
    said = s.refused(400, "IOTDA.000006", "create_batch_task", body=s.task_body(None, devices, document={"package_ids": packages}))
    check("product" in said, "the message says why", said)


def stopping_without_targets_names_all_that_were_stopped(s):
    product = s.product()
    devices, package = s.device_ids(product, 120), s.package(product)
    task = s.task(package, devices)
    shown = s.until_counted(task, processing=120)[0]
    same(shown["targets"], devices, "more than a page of targets is shown too")
    stopped = s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets())["targets"]
    same(sorted(row["target"] for row in stopped), sorted(devices), "every one")
    s.until_status(task, "Stopped")


def a_package_in_use_and_a_task_under_way_stay(s):
    product = s.product()
    devices, package = s.device_ids(product, 1), s.package(product)
    task = s.task(package, devices)
    s.until_counted(task, processing=1)
    s.refused(403, None, "delete_batch_task", task_id=task)
    s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets())
    s.until_status(task, "Stopped")
    s.ask("delete_batch_task", task_id=task)
    s.ask("delete_ota_package", package_id=package)


def thousands_of_targets_fit_into_one_request(s):
    product = s.product()
    [device], package = s.device_ids(product, 1), s.package(product)
    targets = [device, *(f"{'x' * 100}_{number:05}" for number in range(29_999))]
    made = s.ask("create_batch_task", body=s.task_body(package, targets, need_confirm=True))
    s.until_counted(made["task_id"], total=30_000)
    s.refused(400, "IOTDA.000006", "create_batch_task", body=s.task_body(package, [*targets, "one_more"]))


class Receiver(http.server.BaseHTTPRequestHandler):
    """An application that is told of changes."""

    def do_POST(self):
        self.server.heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def an_application_is_told_of_its_tasks(s):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.heard = queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/told"
        about = v5.RoutingRuleSubject(resource="batchtask", event="update")
        rule = s.ask("create_routing_rule", body=v5.AddRuleReq(rule_name="tasks", subject=about))
        has(rule, rule_name="tasks", active=False, subject={"resource": "batchtask", "event": "update"})
        rule_id = rule["rule_id"]
        detail = v5.ChannelDetail(http_forwarding=v5.HttpForwarding(url=url))
        action = s.ask("create_rule_action", body=v5.AddActionReq(
            rule_id=rule_id, channel="HTTP_FORWARDING", channel_detail=detail))
        has(action, rule_id=rule_id, channel="HTTP_FORWARDING", channel_detail={"http_forwarding": {"url": url}})
        same(s.ask("show_rule_action", action_id=action["action_id"]), action, "the action as it was made")
        same(s.ask("list_rule_actions", rule_id=rule_id)["actions"], [action], "the actions of the rule")
        same(s.ask("update_rule_action", action_id=action["action_id"], body=v5.UpdateActionReq(
            channel="HTTP_FORWARDING", channel_detail=detail)), action, "the same again")
        has(s.ask("update_routing_rule", rule_id=rule_id, body=v5.UpdateRuleReq(active=True)), active=True)
        has(s.ask("show_routing_rule", rule_id=rule_id), active=True, rule_name="tasks")
        change = lambda **members: s.ask("update_routing_rule", rule_id=rule_id, body=v5.UpdateRuleReq(**members))
        has(change(select="*", where="resource='device'", description="d"), where="resource='device'", description="d")
        cleared = change(select="", where="", description="")
        check(not {"select", "where", "description"} & set(cleared), "empty text clears", cleared)
        has(cleared, active=True, rule_name="tasks")
        in_force = s.ask("list_routing_rules", active=True)["rules"]
        check(rule_id in [one["rule_id"] for one in in_force], "the rule is in force", in_force)
        listed = s.ask("list_routing_rules", resource="batchtask", event="update")
        check(rule_id in [one["rule_id"] for one in listed["rules"]], "the rule is listed", listed)
        product = s.product()
        task = s.task(s.package(product), s.device_ids(product, 1))
        s.ask("stop_batch_task", task_id=task, body=v5.BatchTargets())
        while True:
            told = server.heard.get(timeout=PATIENCE_SECS)
            if told["notify_data"]["body"]["task_id"] == task and told["notify_data"]["body"]["status"] == "Stopped":
                break
        has(told, resource="batchtask", event="update")
        s.ask("delete_rule_action", action_id=action["action_id"])
        s.ask("delete_routing_rule", rule_id=rule_id)
        s.refused(404, "IOTDA.010002", "show_routing_rule", rule_id=rule_id)
        server.shutdown()


RUNS = [run for run in list(globals().values()) if inspect.isfunction(run) and list(inspect.signature(run).parameters) == ["s"]]
