//! `/apps`, and `/v3/projects`.

use serde_json::json;

use super::super::apps::NAME;
use super::super::refusal::{ENOUGH, EXISTS, IN_USE, NO_SPACE, NOT_NOW};
use super::operation::Operation;
use super::shape::{Named, list, object, refer, seconds, text, truth, word};

pub(super) fn operations() -> Vec<Operation> {
    let all = [
        Operation::look("get", "/apps", "show_applications", "Shows the resource spaces.")
            .query("default_app", &word(&["true", "false"]), "Only the default one, or only the others")
            .shows(200, "The spaces, the default one first", "AppList"),
        Operation::change("post", "/apps", "add_application", "Makes a resource space.")
            .takes("NewApp", true)
            .shows(201, "The space", "App")
            .refuses(&[EXISTS, ENOUGH]),
        Operation::look("get", "/apps/{app_id}", "show_application", "Shows a resource space.")
            .shows(200, "The space", "App")
            .refuses(&[NO_SPACE]),
        Operation::change("put", "/apps/{app_id}", "update_application", "Renames a resource space.")
            .takes("NewApp", true)
            .shows(200, "The space", "App")
            .refuses(&[NO_SPACE, EXISTS, NOT_NOW]),
        Operation::change(
            "delete",
            "/apps/{app_id}",
            "delete_application",
            "Deletes a resource space that nothing is in.",
        )
        .done(204, "It is gone")
        .refuses(&[NO_SPACE, IN_USE]),
        Operation::proved(
            "get",
            "/v3/projects".to_owned(),
            "list_projects",
            "Shows the project, for clients that know a region only.",
            "viewer",
        )
        .query("name", &text(), "The region; every one is the project of this server")
        .shows(200, "The project, called as it was asked for", "ProjectList"),
    ];
    all.into_iter().map(|operation| operation.tagged("resource spaces")).collect()
}

pub(super) fn shapes() -> Named {
    let nothing = || json!({"type": "null"});
    vec![
        (
            "App",
            object(
                &[
                    ("app_id", text()),
                    ("app_name", text()),
                    ("create_time", seconds()),
                    ("default_app", truth()),
                ],
                &[],
            ),
        ),
        ("NewApp", object(&[("app_name", NAME.schema())], &[])),
        ("AppList", object(&[("applications", list(refer("App")))], &[])),
        (
            "Project",
            object(&[("id", text()), ("name", text()), ("enabled", truth()), ("is_domain", truth())], &[]),
        ),
        (
            "ProjectList",
            object(
                &[
                    ("projects", list(refer("Project"))),
                    ("links", object(&[("next", nothing()), ("previous", nothing())], &[])),
                ],
                &[],
            ),
        ),
    ]
}
