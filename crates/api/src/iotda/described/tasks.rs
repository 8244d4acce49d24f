//! `/batchtasks`.

use serde_json::{Value, json};

use super::super::input::{DEVICE_ID, ID, TASK_NAME};
use super::super::refusal::{IN_USE, NO_GROUP, NO_PACKAGE, NO_PRODUCT, NO_SPACE, NO_TASK, NOT_NOW, TIME};
use super::super::tasks::{
    ACTED_MAX, GROUPS_MAX, PACKAGE_ID, PACKAGES_MAX, SHOWN_IN_ROWS_MAX, SHOWN_MAX, TARGETS_MAX,
};
use super::super::words::{OTHER_TASKS, SubStatus, TaskStatus};
use super::operation::Operation;
use super::shape::{
    Named, about, list, list_of, object, opaque, page_of, refer, seconds, text, truth, whole, word,
};

/// Types of tasks that are run.
const OFFERED: [&str; 2] = ["firmwareUpgrade", "softwareUpgrade"];

pub(super) fn operations() -> Vec<Operation> {
    let one = "/batchtasks/{task_id}";
    let types = [&OFFERED[..], OTHER_TASKS].concat();
    let acts = |act: &str, says: &str| {
        Operation::change("post", &format!("{one}/{act}"), &format!("{act}_batch_task"), says)
            .takes("Acted", false)
            .shows(
                200,
                "What was done to which target; without `targets`, those that it means now",
                "ActedOn",
            )
            .refuses(&[NO_TASK, NOT_NOW])
    };
    let all = [
        Operation::look("get", "/batchtasks", "list_batch_tasks", "Shows tasks, the newest first.")
            .space()
            .asks("task_type", &word(&types), "Those of this type; there are only upgrades")
            .query("status", &word(&TaskStatus::ALL.map(TaskStatus::name)), "Only those that are in it")
            .paged()
            .shows(200, "A page of them", "TaskPage"),
        Operation::change(
            "post",
            "/batchtasks",
            "create_batch_task",
            "Makes a task, which starts at once or at its time.",
        )
        .takes("NewTask", true)
        .shows(201, "The task", "Task")
        .refuses(&[NO_SPACE, NO_PACKAGE, NO_GROUP, NO_PRODUCT, TIME]),
        Operation::look("get", one, "show_batch_task", "Shows a task and its sub-tasks.")
            .query(
                "task_detail_status",
                &word(&SubStatus::ALL.map(SubStatus::name)),
                "Only sub-tasks that are in it",
            )
            .query("target", &text(), "Only the sub-task of this device")
            .paged()
            .shows(200, "The task and a page of sub-tasks", "TaskShown")
            .refuses(&[NO_TASK]),
        Operation::change("delete", one, "delete_batch_task", "Deletes a task that has ended.")
            .done(204, "It is gone, and its sub-tasks with it")
            .refuses(&[NO_TASK, NOT_NOW, IN_USE]),
        acts("stop", "Stops a task, or sub-tasks that are named."),
        acts("retry", "Retries sub-tasks that failed or were stopped."),
        acts("confirm", "Lets sub-tasks go that wait for it."),
    ];
    all.into_iter().map(|operation| operation.tagged("batch tasks")).collect()
}

fn policy() -> Value {
    let policy = object(
        &[],
        &[
            ("schedule_time", about(seconds(), "Within the next 7 days.")),
            ("retry_count", whole(0, Some(5))),
            ("retry_interval", about(whole(0, Some(1_440)), "In minutes.")),
        ],
    );
    about(policy, "`retry_count` and `retry_interval` come together.")
}

pub(super) fn shapes() -> Named {
    let most =
        format!("Left out where there are more than {SHOWN_MAX}, and in rows of a list {SHOWN_IN_ROWS_MAX}.");
    let progress =
        ["total", "processing", "success", "fail", "waitting", "fail_wait_retry", "stopped", "removed"]
            .map(|part| (part, whole(0, None)));
    let document = object(
        &[],
        &[
            ("package_ids", list_of(PACKAGE_ID.schema(), 1, PACKAGES_MAX)),
            ("package_id", about(PACKAGE_ID.schema(), "In place of `package_ids`, by older clients.")),
        ],
    );
    let document = about(document, "Packages of one product, whose source versions do not overlap.");
    let error = [("error_code", text()), ("error_msg", text())];
    let sent = [
        ("targets", about(list(text()), &most)),
        ("targets_filter", object(&[("group_ids", list(text()))], &[])),
        ("task_mode", word(&["GATEWAY"])),
        ("need_confirm", truth()),
        ("task_ext_info", opaque("As it came.")),
        ("task_policy", policy()),
    ];
    vec![
        (
            "NewTask",
            object(
                &[("task_name", TASK_NAME.schema()), ("task_type", word(&OFFERED)), ("document", document)],
                &[
                    ("app_id", ID.schema()),
                    ("targets", list_of(DEVICE_ID.schema(), 0, TARGETS_MAX)),
                    (
                        "targets_filter",
                        about(
                            object(&[("group_ids", list_of(ID.schema(), 1, GROUPS_MAX))], &[]),
                            "Where there are no `targets`.",
                        ),
                    ),
                    ("task_mode", word(&["GATEWAY"])),
                    ("need_confirm", truth()),
                    ("task_ext_info", opaque("Handed to devices; at most 512 characters of JSON.")),
                    ("task_policy", policy()),
                ],
            ),
        ),
        (
            "Task",
            object(
                &[
                    ("task_id", text()),
                    ("task_name", text()),
                    ("task_type", word(&OFFERED)),
                    ("status", word(&TaskStatus::ALL.map(TaskStatus::name))),
                    ("status_desc", text()),
                    ("task_progress", refer("Progress")),
                    ("create_time", seconds()),
                    ("document", object(&[], &[("package_ids", list(text())), ("package_id", text())])),
                ],
                &sent,
            ),
        ),
        ("Progress", object(&progress, &[])),
        ("TaskPage", page_of("batchtasks", "Task")),
        (
            "SubTask",
            object(
                &[
                    ("target", text()),
                    ("status", word(&SubStatus::ALL.map(SubStatus::name))),
                    ("output", text()),
                ],
                &[("error", object(&error, &[]))],
            ),
        ),
        (
            "TaskShown",
            object(
                &[
                    ("batchtask", refer("Task")),
                    ("task_details", list(refer("SubTask"))),
                    ("page", refer("Page")),
                ],
                &[],
            ),
        ),
        (
            "Acted",
            about(
                object(&[], &[("targets", list_of(DEVICE_ID.schema(), 1, ACTED_MAX))]),
                "Without `targets`, all that it can be done to.",
            ),
        ),
        ("ActedOn", object(&[("targets", list(refer("ActedTarget")))], &[])),
        (
            "ActedTarget",
            object(
                &[("target", text()), ("status", json!({"type": "string", "enum": ["success", "failure"]}))],
                &error,
            ),
        ),
    ]
}
