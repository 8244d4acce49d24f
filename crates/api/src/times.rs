//! Times as people and scripts read them: RFC 3339, UTC, milliseconds.

use otaru_core::WallTime;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

const FORM: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The last millisecond that four digits of a year can say: 9999-12-31T23:59:59.999Z.
const LAST_MS: i64 = 253_402_300_799_999;

/// A wall time on its way into JSON. Times before 1970 and after 9999 are shown as those limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(pub(crate) WallTime);

impl Moment {
    pub(crate) fn text(self) -> String {
        let ms = self.0.0.clamp(0, LAST_MS);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
            .expect("clamped to the years 1970 to 9999")
            .format(FORM)
            .expect("a time of day has all the members of the form")
    }
}

/// A wall time in a request: RFC 3339, with any offset. What is finer than a millisecond is cut off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedMoment(pub(crate) WallTime);

impl<'de> Deserialize<'de> for AskedMoment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AskedMoment, D::Error> {
        let text = String::deserialize(deserializer)?;
        let unusable = || {
            let shown: String = text.chars().take(64).collect();
            D::Error::custom(format!(
                "`{shown}` is no time; RFC 3339 is accepted, such as `2026-11-26T18:30:00Z`"
            ))
        };
        let parsed = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| unusable())?;
        let ms = i64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).map_err(|_| unusable())?;
        Ok(AskedMoment(WallTime(ms)))
    }
}

impl PartialSchema for AskedMoment {
    fn schema() -> RefOr<Schema> {
        Moment::schema()
    }
}

impl ToSchema for AskedMoment {
    fn name() -> std::borrow::Cow<'static, str> {
        Moment::name()
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Moment {}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_always_three_digits() {
        assert_eq!(Moment(WallTime(0)).text(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Moment(WallTime(1_795_392_652_006)).text(), "2026-11-23T00:10:52.006Z");
        assert_eq!(Moment(WallTime(951_782_400_000)).text(), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn a_time_may_be_asked_for_in_any_zone() {
        let asked = |text: &str| serde_json::from_value::<AskedMoment>(text.into()).map(|moment| moment.0.0);
        assert_eq!(asked("2026-11-23T00:10:52.006Z").unwrap(), 1_795_392_652_006);
        assert_eq!(asked("2026-11-23T01:10:52.0069+01:00").unwrap(), 1_795_392_652_006);
        for text in ["", "soon", "2026-11-23", "2026-11-23T00:10:52", "1795392652006", "2026-13-01T00:00:00Z"]
        {
            let refused = asked(text).unwrap_err().to_string();
            assert!(refused.contains("RFC 3339 is accepted"), "{text}: {refused}");
        }
    }

    #[test]
    fn what_four_digits_cannot_say_is_shown_as_the_limit() {
        assert_eq!(Moment(WallTime(i64::MIN)).text(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Moment(WallTime(i64::MAX)).text(), "9999-12-31T23:59:59.999Z");
    }
}
