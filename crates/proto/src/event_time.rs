//! `event_time`: when a device says something happened.
//!
//! It is shown to operators and never used to decide: SDKs send local time marked as UTC, other formats,
//! or nothing. The time that counts is when a message was received.

use alloc::string::String;

use crate::calendar::{clamp_secs, date_of, days_in, days_to_month, digits};

/// What a message said about its time.
///
/// Source: the event pages since 2024: UTC as `yyyyMMdd'T'HHmmss'Z'`, and where it is absent or malformed
/// the platform's receive time counts. The 2023 text names neither format nor fallback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// The published form, as milliseconds since 1970. The form itself has whole seconds.
    Documented(i64),
    /// Something else, as sent, at most 40 characters.
    Odd(String),
    /// Absent, null or empty.
    Absent,
}

/// `unix_ms` in the published form, for example `20250414T010203Z`. Milliseconds are dropped, and years
/// outside 0000 to 9999 become the nearest time the form can say.
pub fn format_event_time(unix_ms: i64) -> String {
    let secs = clamp_secs(unix_ms.div_euclid(1000));
    let (year, month, day) = date_of(secs.div_euclid(86_400));
    let second_of_day = secs.rem_euclid(86_400);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let mut text = *b"00000000T000000Z";
    let two_digits =
        [(0, year / 100), (2, year % 100), (4, month), (6, day), (9, hour), (11, minute), (13, second)];
    for (at, number) in two_digits {
        text[at] += (number / 10) as u8;
        text[at + 1] += (number % 10) as u8;
    }
    String::from(core::str::from_utf8(&text).expect("digits are ASCII"))
}

/// Milliseconds since 1970 of a text in the published form; `None` for any other text, and for dates
/// that do not exist.
pub fn parse_event_time(text: &str) -> Option<i64> {
    let text: &[u8; 16] = text.as_bytes().try_into().ok()?;
    let [y0, y1, y2, y3, m0, m1, d0, d1, b'T', h0, h1, n0, n1, s0, s1, b'Z'] = *text else {
        return None;
    };
    let year = digits(&[y0, y1, y2, y3])?;
    let (month, day) = (digits(&[m0, m1])?, digits(&[d0, d1])?);
    let (hour, minute, second) = (digits(&[h0, h1])?, digits(&[n0, n1])?, digits(&[s0, s1])?);
    let exists = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days = days_to_month(year, month) + day - 1;
    exists.then(|| ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_form_is_read_and_written() {
        assert_eq!(parse_event_time("20250414T010203Z"), Some(1_744_592_523_000));
        assert_eq!(format_event_time(1_744_592_523_999), "20250414T010203Z");
        assert_eq!(parse_event_time("19700101T000000Z"), Some(0));
        assert_eq!(format_event_time(-1), "19691231T235959Z");
    }

    #[test]
    fn dates_that_do_not_exist_are_not_the_published_form() {
        for text in [
            "20250229T000000Z",
            "20251301T000000Z",
            "20250400T000000Z",
            "20250414T240000Z",
            "20250414T006000Z",
            "20250414T000060Z",
            "2025041 T000000Z",
            "+0250414T000000Z",
            "2025-04-14T01:02:03Z",
            "20250414T010203",
            "",
        ] {
            assert_eq!(parse_event_time(text), None, "{text}");
        }
        assert!(parse_event_time("20240229T000000Z").is_some());
    }

    #[test]
    fn every_digit_has_its_place() {
        for text in ["98761223T194857Z", "00011031T203946Z", "20000229T000000Z", "19991231T235959Z"] {
            assert_eq!(format_event_time(parse_event_time(text).unwrap()), text);
        }
    }

    #[test]
    fn any_time_can_be_written() {
        assert_eq!(format_event_time(i64::MAX), "99991231T235959Z");
        assert_eq!(format_event_time(i64::MIN), "00000101T000000Z");
    }
}
