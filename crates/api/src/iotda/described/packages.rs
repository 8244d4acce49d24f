//! `/ota-upgrades/packages`.

use serde_json::json;

use super::super::input::{ID, VERSION, prose};
use super::super::packages::{BUCKET, CUSTOM_INFO, REGION, SOURCES_MAX, SUFFIXES};
use super::super::refusal::{EXISTS, IN_USE, NO_OBJECT, NO_PACKAGE, NO_PRODUCT, NO_SPACE};
use super::super::words::PACKAGE_TYPES;
use super::operation::Operation;
use super::shape::{Named, about, list, list_of, object, page_of, refer, seconds, text, word};

pub(super) fn operations() -> Vec<Operation> {
    let (all, one) = ("/ota-upgrades/packages", "/ota-upgrades/packages/{package_id}");
    let all = [
        Operation::look("get", all, "list_ota_package_info", "Shows packages, the newest first.")
            .space()
            .asks("package_type", &word(PACKAGE_TYPES), "Those of this type; there are none of modules")
            .query("product_id", &text(), "Only those for this product")
            .query("version", &text(), "Only those of this version")
            .paged()
            .shows(200, "A page of them, without their locations", "PackagePage"),
        Operation::change("post", all, "create_ota_package", "Makes a package of an object in a bucket.")
            .takes("NewPackage", true)
            .shows(201, "The package", "Package")
            .refuses(&[NO_SPACE, NO_PRODUCT, NO_OBJECT, EXISTS]),
        Operation::look("get", one, "show_ota_package", "Shows a package.")
            .shows(200, "The package", "Package")
            .refuses(&[NO_PACKAGE]),
        Operation::change("delete", one, "delete_ota_package", "Deletes a package that no task uses.")
            .done(204, "It is gone; the object stays")
            .refuses(&[NO_PACKAGE, IN_USE]),
    ];
    all.into_iter().map(|operation| operation.tagged("packages")).collect()
}

pub(super) fn shapes() -> Named {
    let offered = &["firmwarePackage", "softwarePackage"];
    let ends = format!("In every bucket but the platform's own, it ends with one of {}.", SUFFIXES.join(" "));
    let location = object(
        &[
            ("region_name", about(REGION.schema(), "Kept and shown.")),
            ("bucket_name", BUCKET.schema()),
            ("object_key", about(prose(1_024).schema(), &ends)),
        ],
        &[
            ("sign_method", word(&["SHA256"])),
            (
                "sign",
                json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$", "description": "Its SHA-256."}),
            ),
        ],
    );
    let location_shown = object(
        &[("region_name", text()), ("bucket_name", text()), ("object_key", text())],
        &[("sign_method", text()), ("sign", text())],
    );
    let always = [
        ("package_id", text()),
        ("app_id", text()),
        ("package_type", word(offered)),
        ("product_id", text()),
        ("product_name", text()),
        ("version", text()),
        ("create_time", seconds()),
    ];
    let sometimes =
        [("support_source_versions", list(text())), ("description", text()), ("custom_info", text())];
    let located = [("file_location", object(&[("obs_location", refer("ObsLocation"))], &[]))];
    vec![
        (
            "NewPackage",
            object(
                &[
                    ("app_id", ID.schema()),
                    ("package_type", word(offered)),
                    ("product_id", ID.schema()),
                    ("version", VERSION.schema()),
                    ("file_location", object(&[("obs_location", location)], &[])),
                ],
                &[
                    ("support_source_versions", list_of(VERSION.schema(), 0, SOURCES_MAX)),
                    ("description", prose(1_024).schema()),
                    ("custom_info", about(CUSTOM_INFO.schema(), "Handed to devices as it is.")),
                ],
            ),
        ),
        ("ObsLocation", location_shown),
        ("Package", object(&[&always[..], &located].concat(), &sometimes)),
        ("PackageRow", object(&always, &sometimes)),
        ("PackagePage", page_of("packages", "PackageRow")),
    ]
}
