//! Sizes as people write them: a number and a unit.

/// The largest size that is accepted: 1 PiB. Larger ones are typing errors.
pub const SIZE_BYTES_MAX: u64 = 1 << 50;

/// The units, largest first, each with its octets.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
];

/// Reads `100B`, `64KiB`, `10MiB` or `1GiB`, likewise with the decimal units `kB`, `MB` and `GB`.
///
/// # Errors
/// Says what is allowed when the text is anything else or more than [`SIZE_BYTES_MAX`]. A bare number
/// is refused, with the unit suggested: one cannot tell octets from kilobytes by looking.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("a size is a number and a unit: 100B, 64KiB, 10MiB or 1GiB".into());
    }
    if unit.is_empty() {
        return Err(format!("a size needs a unit: did you mean {number}B?"));
    }
    let Some((_, octets)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let first = unit.chars().next().map(|letter| letter.to_ascii_lowercase());
        let suggestion = match first {
            Some('k') => format!(": did you mean {number}KiB?"),
            Some('m') => format!(": did you mean {number}MiB?"),
            Some('g') => format!(": did you mean {number}GiB?"),
            _ => String::new(),
        };
        return Err(format!("the units of a size are B, KiB, MiB and GiB{suggestion}"));
    };
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(*octets)) {
        Some(size) if size <= SIZE_BYTES_MAX => Ok(size),
        _ => Err("a size is at most 1048576GiB".into()),
    }
}

/// Writes a size in the largest binary unit that divides it: [`parse_size`] reads it back.
#[must_use]
pub fn show_size(octets: u64) -> String {
    for (unit, size) in UNITS.iter().filter(|(unit, _)| unit.len() != 2) {
        if octets >= *size && octets % *size == 0 {
            return format!("{}{unit}", octets / size);
        }
    }
    format!("{octets}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_sizes() {
        for (text, octets) in [
            ("0B", 0),
            ("100B", 100),
            ("64KiB", 65_536),
            ("10MiB", 10_485_760),
            ("1GiB", 1_073_741_824),
            ("2kB", 2000),
            ("3MB", 3_000_000),
            ("1GB", 1_000_000_000),
            ("1048576GiB", SIZE_BYTES_MAX),
        ] {
            assert_eq!(parse_size(text), Ok(octets), "{text}");
        }
    }

    #[test]
    fn texts_that_are_not() {
        for (text, part) in [
            ("", "number and a unit"),
            ("KiB", "number and a unit"),
            ("-1KiB", "number and a unit"),
            ("100", "did you mean 100B?"),
            ("1k", "did you mean 1KiB?"),
            ("1Mb", "did you mean 1MiB?"),
            ("1gib", "did you mean 1GiB?"),
            ("1 KiB", "units of a size"),
            ("1.5MiB", "units of a size"),
            ("1048577GiB", "at most"),
            ("99999999999999999999B", "at most"),
        ] {
            let error = parse_size(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_shown_size_reads_back() {
        for octets in [0, 1, 100, 1000, 1024, 65_536, 65_537, 1 << 20, 3 << 30, SIZE_BYTES_MAX] {
            assert_eq!(parse_size(&show_size(octets)), Ok(octets));
        }
        assert_eq!(show_size(65_536), "64KiB");
    }
}
