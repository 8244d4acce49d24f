//! `/devices`.

use serde_json::{Value, json};

use super::super::devices::{AUTH_TYPES, EXTENSION_BYTES_MAX, FINGERPRINT};
use super::super::input::{DEVICE_ID, ID, NODE_ID, SECRET, name, prose};
use super::super::refusal::{
    DEVICE_EXISTS, ENOUGH, FREEZE_CHILD, IN_USE, NO_DEVICE, NO_PRODUCT, NO_SPACE, NOT_FROZEN, NOT_NOW, TIME,
    TIME_ORDER,
};
use super::operation::Operation;
use super::shape::{
    Named, about, list, millis, nullable, object, page_of, refer, seconds, text, truth, whole, word,
};

pub(super) fn operations() -> Vec<Operation> {
    let all = [
        Operation::look("get", "/devices", "list_devices", "Shows devices, the newest first.")
            .space()
            .query("product_id", &text(), "Only those of this product")
            .query("gateway_id", &text(), "Only those behind this gateway")
            .query("node_id", &text(), "Only those with this number")
            .query("device_name", &text(), "Only those with this in their name")
            .query("start_time", &seconds(), "Only those that were made then or later")
            .query("end_time", &seconds(), "Only those that were made before")
            .paged()
            .shows(200, "A page of them", "DevicePage")
            .refuses(&[TIME, TIME_ORDER]),
        Operation::change("post", "/devices", "add_device", "Registers a device.")
            .takes("NewDevice", true)
            .shows(201, "The device, with its secret", "Device")
            .refuses(&[NO_SPACE, NO_PRODUCT, NO_DEVICE, DEVICE_EXISTS, ENOUGH]),
        one("get", "", "show_device", "Shows a device.").shows(200, "The device", "Device"),
        one("put", "", "update_device", "Changes what is named of a device.")
            .takes("DeviceChange", false)
            .shows(200, "The device as it is now", "Device")
            .refuses(&[IN_USE]),
        one("delete", "", "delete_device", "Deletes a device.").done(204, "It is gone").refuses(&[IN_USE]),
        one("post", "/freeze", "freeze_device", "Freezes a device: its sessions end, and none begins.")
            .done(204, "It is frozen")
            .refuses(&[FREEZE_CHILD]),
        one("post", "/unfreeze", "unfreeze_device", "Lets a frozen device connect again.")
            .done(204, "It may connect")
            .refuses(&[FREEZE_CHILD, NOT_FROZEN]),
        one("post", "/action", "reset_device_secret", "Gives a device another secret.")
            .asks("action_id", &word(&["resetSecret"]), "What is to be done")
            .takes("SecretReset", false)
            .shows(200, "The new secret", "SecretNow"),
        one(
            "post",
            "/reset-fingerprint",
            "reset_fingerprint",
            "Gives a device another fingerprint, or none.",
        )
        .takes("FingerprintReset", false)
        .shows(200, "The new fingerprint", "FingerprintNow"),
        one("post", "/change-gateway", "change_gateway", "Moves a device to another gateway.")
            .takes("GatewayChange", true)
            .done(200, "It is behind that gateway")
            .refuses(&[IN_USE, NOT_NOW, ENOUGH]),
        one(
            "post",
            "/list-device-group",
            "list_device_groups_by_device",
            "Shows the groups that a device is in.",
        )
        .shows(200, "All of them", "GroupList"),
    ];
    all.into_iter().map(|operation| operation.tagged("devices")).collect()
}

/// With one device.
fn one(method: &'static str, rest: &str, id: &str, says: &str) -> Operation {
    let path = format!("/devices/{{device_id}}{rest}");
    let looks = method == "get" || rest == "/list-device-group";
    let role = if looks { Operation::look } else { Operation::change };
    role(method, &path, id, says).refuses(&[NO_DEVICE])
}

/// What a request says about a device that may be changed later.
fn said() -> [(&'static str, Value); 3] {
    let extension =
        json!({"description": format!("Anything, with at most {EXTENSION_BYTES_MAX} bytes of JSON.")});
    [
        ("device_name", name(256).schema()),
        ("description", prose(2_048).schema()),
        ("extension_info", extension),
    ]
}

/// What is kept of how a device proves itself, and shown.
fn kept_of_auth() -> [(&'static str, Value); 2] {
    [("secure_access", truth()), ("timeout", whole(0, Some(u32::MAX)))]
}

/// A row of a list: what it always has, and what it has where there is something.
pub(super) fn row() -> (Named, Named) {
    (
        vec![
            ("app_id", text()),
            ("app_name", text()),
            ("device_id", text()),
            ("node_id", text()),
            ("gateway_id", about(text(), "Its own id, where it connects by itself.")),
            ("node_type", about(word(&["ENDPOINT", "GATEWAY"]), "What is behind a gateway is an endpoint.")),
            ("product_id", text()),
            ("product_name", text()),
            ("status", word(&["ONLINE", "OFFLINE", "INACTIVE", "FROZEN"])),
            ("tags", list(refer("TagShown"))),
        ],
        vec![
            ("device_name", text()),
            ("fw_version", text()),
            ("sw_version", text()),
            ("device_sdk_version", text()),
            ("description", text()),
        ],
    )
}

pub(super) fn shapes() -> Named {
    let (always, sometimes) = row();
    let session = || ("force_disconnect", about(truth(), "Whether the session ends that there is."));
    let primary = || about(word(&["PRIMARY"]), "A device has one.");
    let auth = [
        ("auth_type", word(AUTH_TYPES)),
        ("secret", about(SECRET.schema(), "A random one where there is none.")),
        ("fingerprint", about(FINGERPRINT.schema(), "Of its certificate, in hexadecimal digits.")),
    ];
    let auth_shown = object(
        &[("auth_type", word(AUTH_TYPES)), ("secure_access", truth())],
        &[
            ("secret", about(text(), "For whoever may change devices.")),
            ("fingerprint", text()),
            ("timeout", whole(0, None)),
        ],
    );
    let more = [
        ("auth_info", auth_shown),
        ("active_time", about(millis(), "When it connected first.")),
        ("connection_status_update_time", about(millis(), "Since when it is connected, while it is.")),
        ("extension_info", json!({"description": "As it came."})),
    ];
    let made = [
        ("device_id", about(DEVICE_ID.schema(), "`PRODUCT_NODE` where there is none.")),
        ("gateway_id", DEVICE_ID.schema()),
        ("app_id", ID.schema()),
        ("auth_info", object(&[], &[&auth[..], &kept_of_auth()].concat())),
    ];
    vec![
        (
            "NewDevice",
            object(
                &[("node_id", NODE_ID.schema()), ("product_id", ID.schema())],
                &[&made[..], &said()].concat(),
            ),
        ),
        (
            "DeviceChange",
            object(&[], &[&said()[..], &[("auth_info", object(&[], &kept_of_auth()))]].concat()),
        ),
        (
            "Device",
            object(&[&always[..], &[("create_time", seconds())]].concat(), &[&sometimes[..], &more].concat()),
        ),
        ("DeviceRow", object(&always, &sometimes)),
        ("DevicePage", page_of("devices", "DeviceRow")),
        ("SecretReset", object(&[], &[("secret", SECRET.schema()), session(), ("secret_type", primary())])),
        ("SecretNow", object(&[("device_id", text()), ("secret", text()), ("secret_type", primary())], &[])),
        (
            "FingerprintReset",
            object(&[], &[("fingerprint", FINGERPRINT.schema()), session(), ("fingerprint_type", primary())]),
        ),
        (
            "FingerprintNow",
            object(
                &[("device_id", text()), ("fingerprint", nullable(text())), ("fingerprint_type", primary())],
                &[],
            ),
        ),
        ("GatewayChange", object(&[("gateway_id", DEVICE_ID.schema())], &[])),
    ]
}
