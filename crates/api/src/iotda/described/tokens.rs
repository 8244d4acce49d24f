//! `/v3/auth/tokens`.

use serde_json::{Value, json};

use super::super::refusal::{AWAY, BROKEN, FORBIDDEN, INVALID, NOT_JSON, TOO_LARGE, UNKNOWN_CALLER};
use super::super::tokens::{METHOD, METHODS_MAX, TOKEN_HEADER, WORD};
use super::operation::Operation;
use super::shape::{Named, about, list, list_of, micros, object, refer, text, word};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::open(
            "post",
            "/v3/auth/tokens",
            "create_token",
            "Gives a token for an access key and its secret.",
        )
        .takes("TokenAsked", true)
        .shows(201, "The token is in a header; it is good for a day, and no longer than the key", "TokenMade")
        .tells(201, TOKEN_HEADER, "The token")
        .refuses(&[NOT_JSON, INVALID, UNKNOWN_CALLER, FORBIDDEN, TOO_LARGE, BROKEN, AWAY])
        .tagged("tokens"),
    ]
}

/// A name that is shown again.
fn named() -> Value {
    about(WORD.schema(), "Shown again, and means nothing else.")
}

fn asked() -> Value {
    let mut methods = list_of(WORD.schema(), 1, METHODS_MAX);
    methods["contains"] = json!({"const": METHOD});
    let user = object(
        &[
            ("name", about(WORD.schema(), "An access key.")),
            ("password", about(WORD.schema(), "The secret of it.")),
        ],
        &[("domain", object(&[], &[("name", named())]))],
    );
    let identity = object(&[("password", object(&[("user", user)], &[]))], &[("methods", methods)]);
    let project = object(
        &[],
        &[("id", about(WORD.schema(), "That of this server, where there is one.")), ("name", named())],
    );
    let auth = object(&[("identity", identity)], &[("scope", object(&[], &[("project", project)]))]);
    object(&[("auth", auth)], &[])
}

fn made() -> Value {
    let named =
        |more: &[(&str, Value)]| object(&[&[("id", text()), ("name", text())][..], more].concat(), &[]);
    let domain = || ("domain", refer("Domain"));
    let roles = named(&[]);
    let token = object(
        &[
            ("methods", list(word(&[METHOD]))),
            ("issued_at", micros()),
            ("expires_at", micros()),
            ("project", named(&[domain()])),
            ("user", named(&[domain()])),
            ("roles", list(roles)),
            ("catalog", list_of(json!({"type": "object"}), 0, 0)),
        ],
        &[],
    );
    object(&[("token", token)], &[])
}

pub(super) fn shapes() -> Named {
    let domain = object(&[("id", text()), ("name", text())], &[]);
    vec![("TokenAsked", asked()), ("TokenMade", made()), ("Domain", domain)]
}
