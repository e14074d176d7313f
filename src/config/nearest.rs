//! The word that was meant: a typing error is answered with what is nearest to it.
//!
//! Knows nothing of what the words are for. Invariant: what is not near is not suggested.

/// The candidate that a typing error may have been meant for: at most a third of it is wrong.
#[must_use]
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and what is much longer is not near.
    let is_near = |candidate: &&str| text.len() <= 2 * candidate.len();
    let by_distance =
        candidates.into_iter().filter(is_near).map(|word| (distance(text, word), word));
    let (distance, candidate) = by_distance.min()?;
    (distance <= candidate.len().div_ceil(3)).then_some(candidate)
}

/// `: did you mean WORD?`, or nothing where no candidate is near.
pub fn suggestion<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, candidates).map_or_else(String::new, |near| format!(": did you mean {near}?"))
}

/// How many octets have to be changed, added or removed to make one text the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, want) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), want, "{one} {other}");
        }
    }

    #[test]
    fn what_is_not_near_is_not_suggested() {
        let words = ["listen", "balance", "log"];
        for (text, want) in [
            ("balence", Some("balance")),
            ("lisen", Some("listen")),
            ("lgo", None),
            ("", None),
            ("frobnicate", None),
            (&"listen".repeat(1000), None),
        ] {
            assert_eq!(nearest(text, words), want, "{text}");
        }
    }
}
