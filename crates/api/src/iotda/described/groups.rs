//! `/device-group`.

use super::super::input::{DEVICE_ID, ID, name, prose};
use super::super::refusal::{ENOUGH, EXISTS, IN_USE, NO_DEVICE, NO_GROUP, NO_SPACE};
use super::operation::Operation;
use super::shape::{Named, about, list, nullable, object, page_of, refer, text, word};

pub(super) fn operations() -> Vec<Operation> {
    let one = "/device-group/{group_id}";
    let all = [
        Operation::look("get", "/device-group", "list_device_groups", "Shows groups, the newest first.")
            .space()
            .query("name", &text(), "Only those with this in their name")
            .query("group_type", &word(&["STATIC", "DYNAMIC"]), "There are no dynamic ones")
            .paged()
            .shows(200, "A page of them", "GroupPage"),
        Operation::change("post", "/device-group", "add_device_group", "Makes a group.")
            .takes("NewGroup", true)
            .shows(201, "The group", "Group")
            .refuses(&[NO_SPACE, NO_GROUP, EXISTS]),
        Operation::look("get", one, "show_device_group", "Shows a group.")
            .shows(200, "The group", "Group")
            .refuses(&[NO_GROUP]),
        Operation::change("put", one, "update_device_group", "Changes what is named of a group.")
            .takes("GroupChange", false)
            .shows(200, "The group as it is now", "Group")
            .refuses(&[NO_GROUP, EXISTS]),
        Operation::change("delete", one, "delete_device_group", "Deletes a group; its devices stay.")
            .done(204, "It is gone")
            .refuses(&[NO_GROUP, IN_USE]),
        Operation::look(
            "get",
            "/device-group/{group_id}/devices",
            "show_devices_in_group",
            "Shows the devices of a group.",
        )
        .paged()
        .shows(200, "A page of them", "MemberPage")
        .refuses(&[NO_GROUP]),
        Operation::change(
            "post",
            "/device-group/{group_id}/action",
            "create_or_delete_device_in_group",
            "Puts a device into a group, or takes it out.",
        )
        .asks("action_id", &word(&["addDevice", "removeDevice"]), "Which of the two")
        .asks("device_id", &DEVICE_ID.schema(), "The device")
        .done(200, "It is so")
        .refuses(&[NO_GROUP, NO_DEVICE, ENOUGH]),
    ];
    all.into_iter().map(|operation| operation.tagged("groups")).collect()
}

pub(super) fn shapes() -> Named {
    let said = [("name", name(64).schema()), ("description", prose(64).schema())];
    let [named, described] = said.clone();
    vec![
        (
            "NewGroup",
            object(
                &[named],
                &[
                    described,
                    ("app_id", ID.schema()),
                    ("group_type", about(word(&["STATIC"]), "There are no dynamic ones.")),
                    (
                        "super_group_id",
                        about(ID.schema(), "Kept and shown; its devices are not in this one."),
                    ),
                ],
            ),
        ),
        ("GroupChange", object(&[], &said)),
        (
            "Group",
            object(
                &[
                    ("group_id", text()),
                    ("name", text()),
                    ("description", text()),
                    ("group_type", word(&["STATIC"])),
                ],
                &[("super_group_id", text())],
            ),
        ),
        ("GroupPage", page_of("device_groups", "Group")),
        ("GroupList", object(&[("device_groups", list(refer("Group")))], &[])),
        (
            "Member",
            object(
                &[
                    ("device_id", text()),
                    ("node_id", text()),
                    ("device_name", nullable(text())),
                    ("product_id", text()),
                ],
                &[],
            ),
        ),
        ("MemberPage", page_of("devices", "Member")),
    ]
}
