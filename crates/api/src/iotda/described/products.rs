//! `/products`.

use super::super::input::{ID, name, prose};
use super::super::products::{FORMATS, PROTOCOLS, SERVICES_BYTES_MAX, SERVICES_MAX};
use super::super::refusal::{EXISTS, IN_USE, NO_PRODUCT, NO_SPACE};
use super::operation::Operation;
use super::shape::{Named, about, list, list_of, object, opaque, page_of, seconds, text, word};

pub(super) fn operations() -> Vec<Operation> {
    let one = "/products/{product_id}";
    let all = [
        Operation::look("get", "/products", "list_products", "Shows products, the newest first.")
            .space()
            .query("product_name", &text(), "Only those with this name")
            .paged()
            .shows(200, "A page of them, without their models", "ProductPage"),
        Operation::change("post", "/products", "create_product", "Makes a product.")
            .takes("NewProduct", true)
            .shows(201, "The product", "Product")
            .refuses(&[NO_SPACE, EXISTS]),
        Operation::look("get", one, "show_product", "Shows a product.")
            .space()
            .shows(200, "The product", "Product")
            .refuses(&[NO_PRODUCT]),
        Operation::change("put", one, "update_product", "Changes what is named of a product.")
            .space()
            .takes("ProductChange", false)
            .shows(200, "The product as it is now", "Product")
            .refuses(&[NO_PRODUCT]),
        Operation::change("delete", one, "delete_product", "Deletes a product that nothing belongs to.")
            .space()
            .done(204, "It is gone, and its id is free")
            .refuses(&[NO_PRODUCT, IN_USE]),
    ];
    all.into_iter().map(|operation| operation.tagged("products")).collect()
}

/// What a request says of a product: what a new one needs, and the rest.
fn model() -> (Named, Named) {
    let services = list_of(opaque("Kept as it comes."), 0, SERVICES_MAX);
    let services = about(services, &format!("At most {SERVICES_BYTES_MAX} bytes of JSON."));
    (
        vec![
            ("device_type", name(32).schema()),
            ("protocol_type", word(PROTOCOLS)),
            ("data_format", word(FORMATS)),
            ("service_capabilities", services),
        ],
        vec![
            ("manufacturer_name", prose(32).schema()),
            ("industry", prose(64).schema()),
            ("description", prose(128).schema()),
            ("app_id", ID.schema()),
        ],
    )
}

/// What is always shown, and what was said of it.
fn shown() -> (Named, Named) {
    let always = vec![
        ("app_id", text()),
        ("app_name", text()),
        ("product_id", text()),
        ("name", text()),
        ("create_time", seconds()),
    ];
    let sometimes = vec![
        ("device_type", text()),
        ("protocol_type", word(PROTOCOLS)),
        ("data_format", word(FORMATS)),
        ("manufacturer_name", text()),
        ("industry", text()),
        ("description", text()),
    ];
    (always, sometimes)
}

pub(super) fn shapes() -> Named {
    let (needed, rest) = model();
    let named = [("name", name(64).schema())];
    let with_id = [("product_id", about(ID.schema(), "A random one where there is none."))];
    let (mut always, sometimes) = shown();
    let row = object(&always, &sometimes);
    always.push(("service_capabilities", list(opaque("As it came."))));
    vec![
        ("NewProduct", object(&[&named[..], &needed].concat(), &[&with_id[..], &rest].concat())),
        ("ProductChange", object(&[], &[&named[..], &needed, &rest].concat())),
        ("Product", object(&always, &sometimes)),
        ("ProductRow", row),
        ("ProductPage", page_of("products", "ProductRow")),
    ]
}
