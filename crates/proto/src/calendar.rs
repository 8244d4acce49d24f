//! The proleptic Gregorian calendar in UTC, in integers: all the calendar the wire needs.

/// Days from 1970-01-01 to the first day of `month` (1..=12) in `year`.
///
/// Counts in years that begin in March, so that the leap day is the last day of its year.
pub(crate) fn days_to_month(year: i64, month: i64) -> i64 {
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let era = year_from_march.div_euclid(400);
    let year_of_era = year_from_march.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // 719 468 days lie between 0000-03-01 and 1970-01-01; an era of 400 years has 146 097.
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of the day that is `days` after 1970-01-01.
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// Days in `month` (1..=12) of `year`.
pub(crate) fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The number that ASCII digits write, or `None` if one of them is none. For at most 18 digits.
pub(crate) fn digits(text: &[u8]) -> Option<i64> {
    text.iter()
        .try_fold(0i64, |so_far, byte| byte.is_ascii_digit().then(|| so_far * 10 + i64::from(byte - b'0')))
}

/// First second of the year 0000 and last second of 9999: what four digits of a year can say.
pub(crate) const FOUR_DIGIT_YEARS_SECS: core::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// `unix_secs` brought into the years 0000 to 9999.
pub(crate) fn clamp_secs(unix_secs: i64) -> i64 {
    unix_secs.clamp(*FOUR_DIGIT_YEARS_SECS.start(), *FOUR_DIGIT_YEARS_SECS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_is_its_own_date() {
        let first = FOUR_DIGIT_YEARS_SECS.start() / 86_400;
        let last = (FOUR_DIGIT_YEARS_SECS.end() - 86_399) / 86_400;
        assert_eq!(date_of(first), (0, 1, 1));
        assert_eq!(date_of(last), (9999, 12, 31));
        for days in first..=last {
            let (year, month, day) = date_of(days);
            assert_eq!(days_to_month(year, month) + day - 1, days);
            assert!(day >= 1 && day <= days_in(year, month));
            // The day after the last one is the first of another month.
            assert_eq!(date_of(days + 1).2 == 1, day == days_in(year, month));
        }
    }

    #[test]
    fn leap_years_follow_the_four_hundred_year_rule() {
        assert_eq!([1900, 2000, 2023, 2024].map(|year| days_in(year, 2)), [28, 29, 28, 29]);
    }
}
