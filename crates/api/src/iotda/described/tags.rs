//! `/tags`.

use super::super::input::{DEVICE_ID, tag};
use super::super::refusal::{ENOUGH, IN_USE, NO_DEVICE, TAG_RESERVED};
use super::super::tags::TAGS_MAX;
use super::operation::Operation;
use super::shape::{Named, list_of, object, page_of, refer, text, word};

pub(super) fn operations() -> Vec<Operation> {
    let all = [
        Operation::change(
            "post",
            "/tags/bind-resource",
            "tag_device",
            "Adds tags to a device, or replaces them.",
        )
        .takes("TagsBound", true)
        .done(200, "It has them")
        .refuses(&[TAG_RESERVED, NO_DEVICE, ENOUGH, IN_USE]),
        Operation::change("post", "/tags/unbind-resource", "untag_device", "Takes tags from a device.")
            .takes("TagsUnbound", true)
            .done(200, "It has them no more")
            .refuses(&[NO_DEVICE, IN_USE]),
        Operation::look(
            "post",
            "/tags/query-resources",
            "list_resources_by_tags",
            "Shows the devices that have at least one of these tags.",
        )
        .takes("TagsAsked", true)
        .paged()
        .shows(200, "A page of them", "ResourcePage"),
    ];
    all.into_iter().map(|operation| operation.tagged("tags")).collect()
}

pub(super) fn shapes() -> Named {
    let tags = || ("tags", list_of(refer("Tag"), 1, TAGS_MAX));
    let of_device = || ("resource_type", word(&["device"]));
    let device = || ("resource_id", DEVICE_ID.schema());
    vec![
        ("Tag", object(&[("tag_key", tag(64).schema())], &[("tag_value", tag(128).schema())])),
        ("TagShown", object(&[("tag_key", text()), ("tag_value", text())], &[])),
        ("TagsBound", object(&[of_device(), device(), tags()], &[])),
        (
            "TagsUnbound",
            object(&[of_device(), device(), ("tag_keys", list_of(tag(64).schema(), 1, TAGS_MAX))], &[]),
        ),
        ("TagsAsked", object(&[of_device(), tags()], &[])),
        ("Resource", object(&[("resource_id", text())], &[])),
        ("ResourcePage", page_of("resources", "Resource")),
    ]
}
