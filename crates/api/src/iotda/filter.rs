//! The condition of a rule: `notify_data.header.product_id = 'pump' AND …`, held against each notification.
//!
//! Of the published conditions these are offered: equalities between a path into the notification and a text in quotes, joined
//! by AND.

use serde_json::Value;

/// Equalities in one condition.
const TERMS_MAX: usize = 10;

/// Equalities that all have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter(Vec<(Vec<String>, String)>);

impl Filter {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// What is not understood, in words.
    pub(super) fn parse(text: &str) -> Result<Filter, String> {
        let mut rest = text.trim();
        let mut terms = Vec::new();
        if rest.is_empty() {
            return Ok(Filter(terms));
        }
        loop {
            let (path, after) = rest.split_once('=').ok_or_else(|| not_understood(rest))?;
            let path: Vec<String> = path.trim().split('.').map(str::to_owned).collect();
            let is_name = |part: &String| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            if !path.iter().all(is_name) {
                return Err(not_understood(rest));
            }
            let quoted = after.trim_start().strip_prefix('\'').ok_or_else(|| not_understood(rest))?;
            let (value, after) = quoted.split_once('\'').ok_or_else(|| not_understood(rest))?;
            terms.push((path, value.to_owned()));
            if terms.len() > TERMS_MAX {
                return Err(format!("it has more than {TERMS_MAX} conditions"));
            }
            let after = after.trim();
            if after.is_empty() {
                return Ok(Filter(terms));
            }
            let joined = after.get(..3).filter(|word| word.eq_ignore_ascii_case("and"));
            let joined =
                joined.and_then(|_| after.get(3..)).filter(|next| next.starts_with(char::is_whitespace));
            rest = joined.ok_or_else(|| not_understood(after))?.trim_start();
        }
    }

    /// The condition in the members of a rule. It was read when the rule was made.
    pub(super) fn of_rule(members: &str) -> Filter {
        let members: Value = serde_json::from_str(members).unwrap_or_default();
        members["where"].as_str().and_then(|text| Filter::parse(text).ok()).unwrap_or_default()
    }

    pub(super) fn holds(&self, notification: &Value) -> bool {
        self.0.iter().all(|(path, wanted)| {
            let found = path.iter().try_fold(notification, |value, name| value.get(name));
            found.and_then(Value::as_str) == Some(wanted.as_str())
        })
    }
}

/// What [`Filter::parse`] reads, as a regular expression for the document.
pub(super) fn pattern() -> String {
    let (blank, name) = ("[ \\t\\n]", "[A-Za-z0-9_]+");
    let value = r"'[^'\u0000-\u0008\u000B-\u001F\u007F-\u009F]*'";
    let term = format!(r"{name}(\.{name})*{blank}*={blank}*{value}");
    let more = TERMS_MAX - 1;
    format!("^{blank}*({term}({blank}*[Aa][Nn][Dd]{blank}+{term}){{0,{more}}})?{blank}*$")
}

fn not_understood(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    format!(
        "{shown:?} is not understood; equalities such as notify_data.header.product_id='p', joined by AND, are"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_equality_has_to_hold() {
        let told = json!({"resource": "device", "notify_data": {"header": {"product_id": "p", "n": 1}}});
        let holds = |text: &str| Filter::parse(text).unwrap().holds(&told);
        for text in [
            "",
            "  ",
            "resource='device'",
            "notify_data.header.product_id = 'p'",
            "resource='device' and notify_data.header.product_id='p'",
            "resource='device'AND notify_data.header.product_id='p' ",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in [
            "resource='product'",
            "notify_data.header.product_id='q'",
            "notify_data.header.none='p'",
            "notify_data.header.n='1'",
            "resource='device' AND notify_data.header.product_id='q'",
        ] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "x",
            "x=",
            "x=y",
            "x='y",
            "='y'",
            "x.='y'",
            "a b='y'",
            "x='y' OR z='w'",
            "x='y' ANDz='w'",
            "x<>'y'",
            "x='y' AND",
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        assert!(Filter::parse(&["a='b'"; 11].join(" AND ")).is_err());
    }

    #[test]
    fn what_the_document_says_is_read() {
        let whole = pattern();
        let like = whole.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).unwrap();
        proptest!(|(text in string_regex(like).unwrap())| {
            prop_assert!(Filter::parse(&text).is_ok(), "{text:?}");
        });
    }

    proptest! {
        #[test]
        fn no_text_is_too_much_for_it(text in "\\PC{0,80}") {
            let _ = Filter::parse(&text);
        }
    }
}
