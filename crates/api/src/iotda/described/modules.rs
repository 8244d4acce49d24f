//! `/ota-upgrades/modules`.

use super::super::input::ID;
use super::super::modules::{ALIAS, DESCRIPTION, MODULE_NAME};
use super::super::refusal::{ENOUGH, EXISTS, NO_MODULE, NO_PRODUCT, NO_SPACE};
use super::operation::Operation;
use super::shape::{Named, object, page_of, seconds, text};

pub(super) fn operations() -> Vec<Operation> {
    let (all, one) = ("/ota-upgrades/modules", "/ota-upgrades/modules/{module_id}");
    let all = [
        Operation::look("get", all, "list_ota_modules", "Shows modules, the newest first.")
            .asks("app_id", &ID.schema(), "Only what is in this resource space")
            .refuses(&[NO_SPACE])
            .query("product_id", &text(), "Only those of this product")
            .paged()
            .shows(200, "A page of them", "ModulePage"),
        Operation::change("post", all, "create_ota_module", "Registers a module of a product.")
            .takes("NewModule", true)
            .shows(201, "The module", "Module")
            .refuses(&[NO_SPACE, NO_PRODUCT, EXISTS, ENOUGH]),
        Operation::look("get", one, "show_ota_module", "Shows a module.")
            .shows(200, "The module", "Module")
            .refuses(&[NO_MODULE]),
        Operation::change("put", one, "update_ota_module", "Changes what people read of a module.")
            .takes("ModuleUpdate", true)
            .shows(200, "The module", "Module")
            .refuses(&[NO_MODULE]),
        Operation::change("delete", one, "delete_ota_module", "Deletes a module.")
            .done(204, "It is gone")
            .refuses(&[NO_MODULE]),
    ];
    all.into_iter().map(|operation| operation.tagged("modules")).collect()
}

pub(super) fn shapes() -> Named {
    let said = [("alias_name", ALIAS.schema()), ("description", DESCRIPTION.schema())];
    let always = [
        ("module_id", text()),
        ("app_id", text()),
        ("product_id", text()),
        ("product_name", text()),
        ("module_name", text()),
        ("create_time", seconds()),
    ];
    vec![
        (
            "NewModule",
            object(
                &[
                    ("app_id", ID.schema()),
                    ("product_id", ID.schema()),
                    ("module_name", MODULE_NAME.schema()),
                ],
                &said,
            ),
        ),
        ("ModuleUpdate", object(&[], &said)),
        ("Module", object(&always, &[("alias_name", text()), ("description", text())])),
        ("ModulePage", page_of("modules", "Module")),
    ]
}
