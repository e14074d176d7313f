//! Numbers, times and durations as people read them.
//!
//! Knows nothing of where they come from. Invariant: no more digits than are meant.

use std::time::Duration;

use crate::h1::text::push_timestamp;
use crate::observe::history::STEP;

/// With commas: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many a second that is, of so many in a step.
pub(super) fn rate(per_step: u32) -> String {
    let seconds = STEP.as_secs();
    let tenths = (u64::from(per_step) * 10 + seconds / 2) / seconds;
    match tenths {
        0..1000 if tenths % 10 != 0 => format!("{}.{}", tenths / 10, tenths % 10),
        _ => count(tenths / 10),
    }
}

/// A share in percent; `–` of nothing.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match (part.saturating_mul(1000)).checked_div(whole) {
        None => "–".to_owned(),
        Some(0) if part > 0 => "under 0.1 %".to_owned(),
        Some(permille) => match permille % 10 {
            0 => format!("{} %", permille / 10),
            tenths => format!("{}.{tenths} %", permille / 10),
        },
    }
}

/// With two digits or three: `420 µs`, `1.2 ms`, `35 ms`, `2.5 s`; `–` where there is none.
pub(super) fn latency(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return "–".to_owned() };
    let us = duration.as_micros();
    let (tenths, unit) = match us {
        0..1_000 => return format!("{us} µs"),
        1_000..1_000_000 => ((us + 50) / 100, "ms"),
        _ => ((us + 50_000) / 100_000, "s"),
    };
    match tenths {
        0..100 if tenths % 10 != 0 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
        _ => format!("{} {unit}", tenths / 10),
    }
}

/// How long something is: the two largest units that it has.
pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A time to the second: `2026-11-23 13:10:27 UTC`.
pub(super) fn clock(unix_ms: u64) -> String {
    let mut out = Vec::new();
    push_timestamp(&mut out, unix_ms);
    let text = String::from_utf8_lossy(&out);
    match text.split_once('T') {
        Some((date, time)) => {
            format!("{date} {} UTC", time.split('.').next().unwrap_or_default())
        }
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(count(number), want);
        }
        for (per_step, want) in [(0, "0"), (1, "0.2"), (5, "1"), (499, "99.8"), (50_004, "10,000")]
        {
            assert_eq!(rate(per_step), want);
        }
        for (part, whole, want) in [
            (0, 0, "–"),
            (0, 5, "0 %"),
            (1, 3, "33.3 %"),
            (5, 5, "100 %"),
            (1, 5000, "under 0.1 %"),
        ] {
            assert_eq!(percent(part, whole), want);
        }
    }

    #[test]
    fn times() {
        for (us, want) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1 ms"),
            (1_249, "1.2 ms"),
            (35_400, "35 ms"),
            (999_999, "1000 ms"),
            (2_500_000, "2.5 s"),
            (61_000_000, "61 s"),
        ] {
            assert_eq!(latency(Some(Duration::from_micros(us))), want);
        }
        assert_eq!(latency(None), "–");
        for (seconds, want) in
            [(7, "7 s"), (65, "1 min 5 s"), (7_300, "2 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(age(seconds * 1000), want);
        }
        assert_eq!(clock(1_735_689_599_007), "2024-12-31 23:59:59 UTC");
    }
}
