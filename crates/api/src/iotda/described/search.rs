//! `/search/query-devices`.

use serde_json::{Value, json};

use super::super::search_sql::{CHARS_MAX, CONDITIONS_MAX, Field, OFFSET_MAX, PREFIX_CHARS_MIN, ROWS_MAX};
use super::devices;
use super::operation::Operation;
use super::shape::{Named, list, object, refer, text, whole};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::look(
            "post",
            "/search/query-devices",
            "search_devices",
            "Shows the devices for which something holds, or counts them.",
        )
        .takes("Search", true)
        .shows(200, "A page of them, or how many there are", "Found")
        .tagged("search"),
    ]
}

/// The language, with what each field of it takes.
fn language() -> String {
    let fields = Field::ALL.iter().map(|field| format!("`{}` ({})", field.name(), field.operators()));
    format!(
        "`select * from device [where CONDITIONS] [order by marker [asc | desc]] [limit [OFFSET,] ROWS]`, or \
         `select count(*) from device [where CONDITIONS]`.\n\n\
         At most {CONDITIONS_MAX} conditions are joined by `and` and `or`; `and` binds tighter, and nothing is nested. \
         Text is between single quotes, of which two are one. `like` takes a prefix of at least {PREFIX_CHARS_MIN} \
         characters with `%` at its end. ROWS is 1 to {ROWS_MAX}, OFFSET 0 to {OFFSET_MAX}.\n\n\
         Fields and their operators: {}.",
        fields.collect::<Vec<_>>().join("; ")
    )
}

/// How every search begins, as a regular expression; the words may be in any case.
fn head() -> String {
    let word =
        |word: &str| word.chars().map(|c| format!("[{}{c}]", c.to_ascii_uppercase())).collect::<String>();
    let [select, count, from, device] = ["select", "count", "from", "device"].map(word);
    let blank = r"[ \t\n]";
    format!(
        r"^{blank}*{select}{blank}*(\*|{count}{blank}*\({blank}*\*{blank}*\)){blank}*{from}{blank}+{device}({blank}|$)"
    )
}

pub(super) fn shapes() -> Named {
    let sql = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": CHARS_MAX,
        "pattern": head(),
        "description": language(),
        "examples": [
            "select * from device where product_id = 'pump' and status in ('ONLINE', 'OFFLINE') order by marker asc limit 20",
            "select count(*) from device where tag_key = 'site' and tag_value = 'north'",
        ],
    });
    let (mut always, sometimes) = devices::row();
    always.push(("marker", text()));
    let found: Value = json!({"oneOf": [
        object(&[("devices", list(refer("DeviceFound")))], &[]),
        object(&[("count", whole(0, None))], &[]),
    ]});
    vec![
        ("Search", object(&[("sql", sql)], &[])),
        ("DeviceFound", object(&always, &sometimes)),
        ("Found", found),
    ]
}
