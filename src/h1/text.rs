//! Numbers, addresses and times as octets, without the machinery of `format!`.
//!
//! These are written for each request; the general formatter costs several times as much.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// Appends a number in decimal.
pub fn push_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a number in decimal, with zeros in front to at least `width` digits.
pub fn push_padded(out: &mut Vec<u8>, number: u64, width: u32) {
    for place in (1..width).rev() {
        if number < 10u64.pow(place) {
            out.push(b'0');
        }
    }
    push_decimal(out, number);
}

/// Appends a number in hexadecimal, all 32 digits of it.
pub fn push_hexadecimal(out: &mut Vec<u8>, number: u128) {
    let digit = |four_bits| four_bits + if four_bits < 10 { b'0' } else { b'a' - 10 };
    let digits = number.to_be_bytes().map(|octet| [digit(octet >> 4), digit(octet & 15)]);
    out.extend_from_slice(digits.as_flattened());
}

/// Appends a duration in milliseconds, with microseconds as decimals: `12.345`.
pub fn push_millis(out: &mut Vec<u8>, duration: Duration) {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    push_decimal(out, us / 1000);
    out.push(b'.');
    push_padded(out, us % 1000, 3);
}

/// Appends an address; an IPv6 address without brackets, an IPv4-mapped one as IPv4.
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let mut text = [b'.'; "255.255.255.255.".len()];
            let mut end = 0;
            for octet in v4.octets() {
                for power in [100, 10] {
                    if octet >= power {
                        text[end] = b'0' + octet / power % 10;
                        end += 1;
                    }
                }
                text[end] = b'0' + octet % 10;
                end += 2;
            }
            out.extend_from_slice(&text[..end - 1]);
        }
        IpAddr::V6(v6) => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{v6}");
        }
    }
}

/// Appends a time as RFC 3339 in UTC with milliseconds: `2026-11-23T13:10:27.123Z`.
pub fn push_timestamp(out: &mut Vec<u8>, unix_ms: u64) {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    push_padded(out, year, 4);
    for number in [month, day] {
        out.push(b'-');
        push_padded(out, number, 2);
    }
    push_time_of_day(out, seconds, b'T');
    out.push(b'.');
    push_padded(out, unix_ms % 1000, 3);
    out.push(b'Z');
}

/// Appends a time as an IMF-fixdate (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn push_http_date(out: &mut Vec<u8>, unix_ms: u64) {
    const WEEKDAYS: [&[u8]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    out.extend_from_slice(WEEKDAYS[(seconds / 86_400 % 7) as usize]);
    out.extend_from_slice(b", ");
    push_padded(out, day, 2);
    out.push(b' ');
    push_month(out, month);
    out.push(b' ');
    push_padded(out, year, 4);
    push_time_of_day(out, seconds, b' ');
    out.extend_from_slice(b" GMT");
}

/// Appends a time as the logs of web servers have it, in UTC: `06/Nov/1994:08:49:37 +0000`.
pub fn push_clf_date(out: &mut Vec<u8>, unix_ms: u64) {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil_from_days(seconds / 86_400);
    push_padded(out, day, 2);
    out.push(b'/');
    push_month(out, month);
    out.push(b'/');
    push_padded(out, year, 4);
    push_time_of_day(out, seconds, b':');
    out.extend_from_slice(b" +0000");
}

fn push_month(out: &mut Vec<u8>, month: u64) {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    out.extend_from_slice(
        MONTHS.iter().zip(1..).find(|(_, n)| *n == month).map_or(b"", |(m, _)| *m),
    );
}

/// Hours, minutes and seconds with colons between them, and something in front.
fn push_time_of_day(out: &mut Vec<u8>, seconds: u64, before: u8) {
    for (number, before) in
        [(seconds / 3600 % 24, before), (seconds / 60 % 60, b':'), (seconds % 60, b':')]
    {
        out.push(before);
        push_padded(out, number, 2);
    }
}

/// Year, month and day of the n-th day after 1970-01-01 in the Gregorian calendar.
///
/// Years are counted from 1 March, so that the leap day is the last of its year and the months
/// before it have a regular pattern: five months of 153 days each.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let since_march_0000 = days + 719_468;
    let era = since_march_0000 / 146_097;
    let day_of_era = since_march_0000 % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn milliseconds() {
        for (us, want) in [(0, "0.000"), (7, "0.007"), (1_050, "1.050"), (60_000_000, "60000.000")]
        {
            assert_eq!(text(|out| push_millis(out, Duration::from_micros(us))), want);
        }
    }

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 99, 100, 65_535, u64::MAX] {
            assert_eq!(text(|out| push_decimal(out, number)), number.to_string());
        }
        let number = 0x0123_4567_89ab_cdef_u128;
        assert_eq!(text(|out| push_hexadecimal(out, number)), format!("{number:032x}"));
        assert_eq!(text(|out| push_padded(out, 7, 3)), "007");
        assert_eq!(text(|out| push_padded(out, 0, 2)), "00");
        assert_eq!(text(|out| push_padded(out, 1234, 2)), "1234");
    }

    #[test]
    fn addresses() {
        for (address, want) in [
            ("127.0.0.1", "127.0.0.1"),
            ("255.20.3.0", "255.20.3.0"),
            ("::1", "::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            let parsed = address.parse().expect(address);
            assert_eq!(text(|out| push_address(out, parsed)), want);
        }
        for octet in 0..=255 {
            let address = std::net::Ipv4Addr::new(octet, 255, 255, octet);
            assert_eq!(text(|out| push_address(out, address.into())), address.to_string());
        }
    }

    #[test]
    fn http_dates() {
        for (unix_ms, want) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599_999, "Tue, 31 Dec 2024 23:59:59 GMT"),
        ] {
            assert_eq!(text(|out| push_http_date(out, unix_ms)), want);
        }
    }

    #[test]
    fn times() {
        for (unix_ms, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(text(|out| push_timestamp(out, unix_ms)), want);
        }
    }
}
