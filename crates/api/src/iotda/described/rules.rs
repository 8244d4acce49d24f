//! `/routing-rule`.

use serde_json::{Value, json};

use super::super::filter;
use super::super::input::{ID, prose};
use super::super::refusal::{ENOUGH, NO_RULE, NO_SPACE};
use super::super::rules::{APP_TYPES, SUBJECTS, TOKEN, URL};
use super::operation::Operation;
use super::shape::{Named, about, list, nullable, object, refer, text, truth, whole, word};

pub(super) fn operations() -> Vec<Operation> {
    let one = "/routing-rule/rules/{rule_id}";
    let one_action = "/routing-rule/actions/{action_id}";
    let all = [
        Operation::look("get", "/routing-rule/rules", "list_routing_rules", "Shows rules, the newest first.")
            .space()
            .query("resource", &text(), "Only those about this")
            .query("event", &text(), "Only those about this event")
            .query("app_type", &word(APP_TYPES), "Only those of this type")
            .query("rule_name", &text(), "Only those with this in their name")
            .query("active", &word(&["true", "false"]), "Only those in force, or only the others")
            .paged()
            .shows(200, "A page of them", "RulePage"),
        Operation::change(
            "post",
            "/routing-rule/rules",
            "create_routing_rule",
            "Makes a rule, which is not yet in force.",
        )
        .takes("NewRule", true)
        .shows(201, "The rule", "Rule")
        .refuses(&[NO_SPACE, ENOUGH]),
        Operation::look("get", one, "show_routing_rule", "Shows a rule.")
            .shows(200, "The rule", "Rule")
            .refuses(&[NO_RULE]),
        Operation::change("put", one, "update_routing_rule", "Changes what is named of a rule.")
            .takes("RuleChange", false)
            .shows(200, "The rule as it is now", "Rule")
            .refuses(&[NO_RULE, NO_SPACE]),
        Operation::change(
            "delete",
            one,
            "delete_routing_rule",
            "Deletes a rule with its actions and what is still to be told.",
        )
        .done(204, "It is gone")
        .refuses(&[NO_RULE]),
        Operation::look(
            "get",
            "/routing-rule/actions",
            "list_rule_actions",
            "Shows actions, the newest first.",
        )
        .space()
        .query("rule_id", &text(), "Only those of this rule")
        .query("channel", &text(), "Only those that tell in this way")
        .query("app_type", &word(APP_TYPES), "Only those of rules of this type")
        .paged()
        .shows(200, "A page of them", "ActionPage"),
        Operation::change("post", "/routing-rule/actions", "create_rule_action", "Gives a rule an action.")
            .takes("NewAction", true)
            .shows(201, "The action", "Action")
            .refuses(&[NO_RULE, ENOUGH]),
        Operation::look("get", one_action, "show_rule_action", "Shows an action.")
            .shows(200, "The action", "Action")
            .refuses(&[NO_RULE]),
        Operation::change("put", one_action, "update_rule_action", "Gives an action another detail.")
            .takes("ActionChange", true)
            .shows(200, "The action as it is now", "Action")
            .refuses(&[NO_RULE]),
        Operation::change(
            "delete",
            one_action,
            "delete_rule_action",
            "Deletes an action with what is still to be told.",
        )
        .done(204, "It is gone")
        .refuses(&[NO_RULE]),
    ];
    all.into_iter().map(|operation| operation.tagged("routing rules")).collect()
}

/// What may be told, each with its event.
fn subject() -> Value {
    let known = SUBJECTS.iter().map(|(resource, event, _)| json!({"resource": resource, "event": event}));
    let mut subject = object(&[("resource", text()), ("event", text())], &[]);
    subject["enum"] = known.collect();
    subject
}

/// What a request says about a rule that may be changed later.
fn said() -> [(&'static str, Value); 4] {
    let mut select = prose(2_500).schema();
    select["pattern"] = r"^[ \t\n]*\*[ \t\n]*$".into();
    let mut held = prose(2_500).schema();
    held["pattern"] = filter::pattern().into();
    [
        ("rule_name", prose(256).schema()),
        ("description", prose(256).schema()),
        ("select", about(select, "All of it is told.")),
        ("where", about(held, "Equalities with paths into the notification, joined by AND.")),
    ]
}

/// The same where a rule is changed: empty text clears all but the name.
fn said_anew() -> Named {
    let mut members = said();
    for (_, schema) in members.iter_mut().skip(1) {
        schema["minLength"] = 0.into();
        let says = schema["description"].as_str().unwrap_or_default();
        schema["description"] = format!("{says} Empty text clears it.").trim().into();
    }
    members[2].1["pattern"] = r"^([ \t\n]*\*[ \t\n]*)?$".into();
    members.to_vec()
}

/// Whose things a rule is about.
fn of_whom() -> [(&'static str, Value); 2] {
    [("app_type", about(word(APP_TYPES), "`APP` needs `app_id`.")), ("app_id", ID.schema())]
}

/// One needs the other, where it has this value.
fn needs(mut shape: Value, member: &str, value: Value, other: &str) -> Value {
    shape["if"] = json!({"required": [member], "properties": {(member): {"const": value}}});
    shape["then"] = json!({"required": [other]});
    shape
}

fn detail_of(http: Value) -> Value {
    object(&[("http_forwarding", http)], &[])
}

/// What a request says about where to. A new action has no token yet.
fn asked_of_action(is_new: bool) -> Named {
    let mut url = about(URL.schema(), "Names no user.");
    url["pattern"] = concat!(
        r"^[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?",
        r"([/?#][^\u0000-\u0008\u000B-\u001F\u007F-\u009F]*)?$",
    )
    .into();
    let token = about(TOKEN.schema(), "Signs what is told; never shown.");
    let rest = [kept_of_action(), vec![("token", token)]].concat();
    let mut http = object(&[("url", url)], &rest);
    if is_new {
        http = needs(http, "signature_enable", true.into(), "token");
    }
    vec![("channel", word(&["HTTP_FORWARDING"])), ("channel_detail", detail_of(http))]
}

/// What is kept of an action, and shown.
fn kept_of_action() -> Named {
    vec![
        ("cert_id", prose(256).schema()),
        ("cn_name", prose(256).schema()),
        ("sni_enable", truth()),
        ("signature_enable", about(truth(), "True needs a token; false takes it away.")),
    ]
}

/// Of these two lists the count and the marker are beside the records.
fn page(name: &str, of: &str) -> Value {
    let marker = about(text(), "The last record of the page; the next one begins after it.");
    let count = about(whole(0, None), "How many there are in all.");
    object(&[(name, list(refer(of))), ("count", count), ("marker", nullable(marker))], &[])
}

pub(super) fn shapes() -> Named {
    let all_of_rule = [&said()[..], &of_whom()].concat();
    let new_rule = object(&[("subject", subject())], &all_of_rule);
    let in_force = ("active", truth());
    let its_subject = ("subject", about(subject(), "The one it has."));
    let changed = [&said_anew()[..], &of_whom(), &[in_force.clone(), its_subject]].concat();
    let shown_subject = ("subject", object(&[("resource", text()), ("event", text())], &[]));
    let said_shown = ["rule_name", "description", "select", "where", "app_id"].map(|name| (name, text()));
    let shown_detail = detail_of(object(&[("url", text())], &kept_of_action()));
    let ids = || ("rule_id", text());
    vec![
        ("NewRule", needs(new_rule, "app_type", "APP".into(), "app_id")),
        ("RuleChange", object(&[], &changed)),
        ("Rule", object(&[ids(), in_force, shown_subject, ("app_type", word(APP_TYPES))], &said_shown)),
        ("RulePage", page("rules", "Rule")),
        ("NewAction", object(&[&[("rule_id", ID.schema())][..], &asked_of_action(true)].concat(), &[])),
        (
            "ActionChange",
            object(&asked_of_action(false), &[("rule_id", about(ID.schema(), "The one it has."))]),
        ),
        (
            "Action",
            object(
                &[
                    ("action_id", text()),
                    ids(),
                    ("channel", word(&["HTTP_FORWARDING"])),
                    ("channel_detail", shown_detail),
                ],
                &[],
            ),
        ),
        ("ActionPage", page("actions", "Action")),
    ]
}
