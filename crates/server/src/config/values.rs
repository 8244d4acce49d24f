//! The forms in which values are written: durations, sizes, addresses.
//!
//! Each function says in `None` that the text has another form; what is accepted is said by whoever asks.

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const DURATION: &str =
    "a duration such as \"25h\", \"3min\", \"90s\", \"200ms\" or \"1h30min\" is accepted";
pub(super) const SIZE: &str =
    "a number of bytes or a size such as \"64KiB\", \"256MiB\" or \"1GiB\" is accepted";
pub(super) const ADDRESS: &str =
    "an address with port such as \"127.0.0.1:8080\" or \"[::1]:8080\", or \"off\", is accepted";

/// Longest duration: a century. Beyond it the sum with a clock could overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// One or more of number and unit, without spaces between.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let number: u64 = number.parse().ok()?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = sum.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = tail;
    }
    (sum <= DURATION_MAX).then_some(sum)
}

/// A number of bytes, with or without a binary unit.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// An address and port; `Some(None)` for "off".
pub(super) fn address(text: &str) -> Option<Option<SocketAddr>> {
    match text.trim() {
        "off" => Some(None),
        "localhost" => None,
        text => match text.strip_prefix("localhost:") {
            Some(port) => Some(Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)))),
            None => text.parse().ok().map(Some),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let millis = |text| duration(text).map(|span| span.as_millis());
        assert_eq!(millis("25h"), Some(90_000_000));
        assert_eq!(millis("3min"), Some(180_000));
        assert_eq!(millis("200ms"), Some(200));
        assert_eq!(millis("1h30min"), Some(5_400_000));
        assert_eq!(millis("0s"), Some(0));
        assert_eq!(millis("2d"), Some(172_800_000));
        for wrong in
            ["", "25", "h", "25 h", "3m", "-1s", "1.5h", "25H", "99999999999999999999h", "200000d", "1h!"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        assert_eq!(size("999999999"), Some(999_999_999));
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1 GiB"), Some(1 << 30));
        for wrong in ["", "MiB", "64MB", "64mib", "-1", "1e9", "99999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_have_ports() {
        assert_eq!(address("off"), Some(None));
        assert_eq!(address("127.0.0.1:0"), Some(Some("127.0.0.1:0".parse().unwrap())));
        assert_eq!(address("localhost:1883"), Some(Some("127.0.0.1:1883".parse().unwrap())));
        assert_eq!(address("[::]:1883"), Some(Some("[::]:1883".parse().unwrap())));
        for wrong in ["", "1883", ":1883", "127.0.0.1", "localhost", "example.com:1883", "127.0.0.1:65536"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
