//! Durations as people write them: a number and a unit.

use std::time::Duration;

/// The longest duration that is accepted: 30 days. Longer ones are typing errors.
pub const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads `250ms`, `5s`, `2m` or `1h`.
///
/// # Errors
/// Says what is allowed when the text is anything else, zero, or more than [`DURATION_MAX`]. A bare
/// number is refused, with the unit suggested: one cannot tell seconds from milliseconds by looking.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("a duration is a number and a unit: 250ms, 5s, 2m or 1h".into());
    }
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(format!("a duration needs a unit: did you mean {number}s?")),
        _ => return Err("the units of a duration are ms, s, m and h, as in 250ms or 5s".into()),
    };
    let ms = number.parse::<u64>().ok().and_then(|n| n.checked_mul(ms_per_unit));
    match ms.map(Duration::from_millis) {
        Some(Duration::ZERO) => Err("a duration is at least 1ms".into()),
        Some(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err("a duration is at most 720h".into()),
    }
}

/// Reads a duration, or `0s` for none.
///
/// # Errors
/// As [`parse_duration`], except that zero is allowed.
pub fn parse_delay(text: &str) -> Result<Duration, String> {
    match text {
        "0ms" | "0s" | "0m" | "0h" => Ok(Duration::ZERO),
        _ => parse_duration(text),
    }
}

/// Writes a duration in a unit that divides it, minutes from ten on: the inverse of [`parse_delay`].
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms % size == 0 && (unit != "m" || ms >= 10 * size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_may_be_none() {
        assert_eq!(parse_delay("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_delay("3s"), Ok(Duration::from_secs(3)));
        assert!(parse_delay("0").is_err() && parse_delay("-1s").is_err());
        assert_eq!(show_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn texts_that_are_durations() {
        for (text, ms) in [
            ("1ms", 1),
            ("250ms", 250),
            ("5s", 5000),
            ("60s", 60_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("720h", 2_592_000_000),
            ("007s", 7000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_not() {
        for (text, part) in [
            ("", "number and a unit"),
            ("s", "number and a unit"),
            ("-5s", "number and a unit"),
            ("5", "did you mean 5s?"),
            ("5 s", "units of a duration"),
            ("5sec", "units of a duration"),
            ("5S", "units of a duration"),
            ("1.5s", "units of a duration"),
            ("0s", "at least 1ms"),
            ("721h", "at most 720h"),
            ("99999999999999999999h", "at most 720h"),
            ("18446744073709551615h", "at most 720h"),
            ("5é", "units of a duration"),
        ] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back() {
        for ms in [1, 250, 1000, 5000, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        assert_eq!(show_duration(Duration::from_secs(60)), "60s");
    }
}
