//! `/apps`, and `/v3/projects`.

use serde_json::json;

use super::super::refusal::NO_SPACE;
use super::operation::Operation;
use super::shape::{Named, list, object, refer, seconds, text, truth, word};

pub(super) fn operations() -> Vec<Operation> {
    let all = [
        Operation::look("get", "/apps", "show_applications", "Shows the resource spaces.")
            .query("default_app", &word(&["true", "false"]), "Only the default one, or only the others")
            .shows(200, "The one there is, or none", "AppList"),
        Operation::look("get", "/apps/{app_id}", "show_application", "Shows a resource space.")
            .shows(200, "The space", "App")
            .refuses(&[NO_SPACE]),
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
