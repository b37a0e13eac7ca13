//! Durations as the Gateway API writes them.

use std::time::Duration;

/// Why a text is no GEP-2257 duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: {reason}; write for example `500ms`, `5s` or `1h30m`")]
pub struct DurationError {
    text: String,
    reason: &'static str,
}

/// Parses a GEP-2257 duration.
///
/// GEP-2257: "A *GEP-2257 Duration* is a string that MUST match the regular expression
/// `^([0-9]{1,5}(h|m|s|ms)){1,4}$`, and is otherwise parsed the same way that Go's
/// `time.ParseDuration` parses durations". So a unit may repeat and the parts add up, there is no
/// sign, no fraction and nothing finer than a millisecond; `0s` is a duration, `0` is not.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let fail = |reason| DurationError { text: text.chars().take(64).collect(), reason };
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut parts = 0;
    while !rest.is_empty() {
        parts += 1;
        if parts > 4 {
            return Err(fail("it has more than four parts"));
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = match digits {
            0 => return Err(fail("a part begins with no whole number")),
            1..=5 => rest[..digits].parse::<u64>().map_err(|_| fail("a number is too long"))?,
            _ => return Err(fail("a number has more than five digits")),
        };
        rest = &rest[digits..];
        let (unit_ms, unit_len) = match rest.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b's', ..] => (1_000, 1),
            [b'm', ..] => (60_000, 1),
            [b'h', ..] => (3_600_000, 1),
            _ => return Err(fail("a number lacks its unit, one of h, m, s, ms")),
        };
        rest = &rest[unit_len..];
        // At most 4 * 99999h: far from overflow.
        total += Duration::from_millis(number * unit_ms);
    }
    if parts == 0 { Err(fail("it is empty")) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gep_2257_examples_are_read() {
        for (text, ms) in [
            ("0h", 0),
            ("0s", 0),
            ("1h", 3_600_000),
            ("30m", 1_800_000),
            ("10s", 10_000),
            ("500ms", 500),
            ("2h30m", 9_000_000),
            ("150m", 9_000_000),
            ("7230s", 7_230_000),
            ("1h30m10s", 5_410_000),
            ("10s30m1h", 5_410_000),
            ("100ms200ms300ms", 600),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn gep_2257_counter_examples_are_refused() {
        for text in
            ["", "1", "1m1", "1h30m10s20ms50h", "999999h", "1.5h", "-15m", "5us", "1d", " 5s", "5S"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_as_the_pattern_says(text in "[0-9]{0,6}(h|m|s|ms|us|)([0-9]{1,2}(h|m|s|ms)){0,4}") {
            let pattern = regex::Regex::new(r"^([0-9]{1,5}(h|m|s|ms)){1,4}$").unwrap();
            prop_assert_eq!(parse(&text).is_ok(), pattern.is_match(&text));
        }
    }
}
