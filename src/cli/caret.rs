//! What is wrong in a file, shown where it is: the line, and a caret below it.
//!
//! Knows nothing of what the text means. Invariants: columns and carets count characters, whatever
//! these are, and what a terminal could take for a command is not shown as such.
//!
//! Next: [`crate::cli`] hands the rendered text to whoever tells people.

use std::fmt::Write;

/// A part of a text, in octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Something that is wrong with a part of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) text: String,
    /// What would be right, where that can be told.
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(span: Span, text: impl Into<String>) -> Self {
        Self { span, text: text.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with a hint, if there is one.
    pub(super) fn perhaps(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

/// The most characters of a line that are shown.
const SHOWN_CHARS_MAX: usize = 100;

/// How many characters are shown in front of what is wrong in a line that is cut.
const SHOWN_CHARS_BEFORE: usize = 40;

/// Where a place is, for people.
struct Place<'a> {
    /// Counted from 1.
    line: usize,
    /// Without its end.
    line_text: &'a str,
    /// How many characters are in front of it.
    chars_before: usize,
    /// How many characters it has in this line, at least 1.
    chars: usize,
}

/// In which line an octet of a text is, counted from 1.
pub(super) fn line_of(source: &str, at: usize) -> usize {
    let before = source.as_bytes().get(..at).unwrap_or(source.as_bytes());
    before.iter().filter(|octet| **octet == b'\n').count() + 1
}

/// The three lines that tell a fault, without a line end.
pub(super) fn render(name: &str, source: &str, fault: &Fault) -> String {
    let place = place(source, fault.span);
    let (shown, indent, width) = window(&place);
    let number = place.line.to_string();
    let mut out = format!(
        "error: {}:{number}:{}: {}\n  {number} | {shown}\n  {:width_of_number$} | {:indent$}{}",
        printable(name),
        place.chars_before + 1,
        fault.text,
        "",
        "",
        "^".repeat(width),
        width_of_number = number.len(),
    );
    if let Some(hint) = &fault.hint {
        // Writing to a text does not fail.
        let _ = write!(out, " {hint}");
    }
    out
}

fn place(source: &str, span: Span) -> Place<'_> {
    let mut start = span.start.min(source.len());
    // Behind the last line end is no line that anybody sees.
    if start == source.len() && source.ends_with('\n') {
        start -= 1;
    }
    while !source.is_char_boundary(start) {
        start -= 1;
    }
    let (before, after) = source.split_at(start);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = after.split('\n').next().unwrap_or_default();
    let line_text = source.get(line_start..start + rest.len()).unwrap_or_default();
    let line_text = line_text.strip_suffix('\r').unwrap_or(line_text);
    let inside = rest.char_indices().take_while(|(at, _)| start + at < span.end).count();
    Place {
        line: line_of(source, start),
        line_text,
        chars_before: before.get(line_start..).unwrap_or_default().chars().count(),
        chars: inside.max(1),
    }
}

/// The part of the line that is shown, how many characters are in front of the carets in it, and how
/// many carets there are.
fn window(place: &Place<'_>) -> (String, usize, usize) {
    let count = place.line_text.chars().count();
    let first = if count <= SHOWN_CHARS_MAX || place.chars_before + place.chars <= SHOWN_CHARS_MAX {
        0
    } else {
        place.chars_before.saturating_sub(SHOWN_CHARS_BEFORE)
    };
    let shown_count = (count - first.min(count)).min(SHOWN_CHARS_MAX);
    let part: String = place.line_text.chars().skip(first).take(shown_count).collect();
    let front = if first > 0 { "…" } else { "" };
    let end = if first + shown_count < count { "…" } else { "" };
    let indent = place.chars_before - first;
    let width = place.chars.min((shown_count.max(indent + 1)) - indent);
    (format!("{front}{}{end}", printable(&part)), front.chars().count() + indent, width)
}

/// As many characters as before, each of which takes one place on a terminal and does nothing to it.
fn printable(text: &str) -> String {
    let show = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str, part: &str, hint: Option<&str>) -> String {
        let start = source.find(part).expect(part);
        let fault = Fault::new(Span { start, end: start + part.len() }, "wrong");
        render("f.toml", source, &fault.perhaps(hint.map(str::to_owned)))
    }

    #[test]
    fn faults_are_shown_where_they_are() {
        for (source, part, hint, want) in [
            (
                "a = 1\nb = 2\nbalence = 3\n",
                "balence",
                Some("did you mean \"balance\"?"),
                "error: f.toml:3:1: wrong\n  3 | balence = 3\n    | ^^^^^^^ did you mean \"balance\"?",
            ),
            ("a", "a", None, "error: f.toml:1:1: wrong\n  1 | a\n    | ^"),
            ("", "", None, "error: f.toml:1:1: wrong\n  1 | \n    | ^"),
            ("\t\tx\r\ny", "x", None, "error: f.toml:1:3: wrong\n  1 |   x\n    |   ^"),
            ("äöü = ß", "ß", None, "error: f.toml:1:7: wrong\n  1 | äöü = ß\n    |       ^"),
            (
                "a\u{1b}[31m b",
                "b",
                None,
                "error: f.toml:1:8: wrong\n  1 | a\u{fffd}[31m b\n    |        ^",
            ),
            (
                "a = '''x\ny'''\n",
                "'''x\ny'''",
                None,
                "error: f.toml:1:5: wrong\n  1 | a = '''x\n    |     ^^^^",
            ),
        ] {
            assert_eq!(rendered(source, part, hint), want, "{source:?}");
        }
        let tenth = format!("{}x", "\n".repeat(9));
        let want = "error: f.toml:10:1: wrong\n  10 | x\n     | ^";
        assert_eq!(rendered(&tenth, "x", None), want);
    }

    #[test]
    fn the_end_of_a_text_is_at_the_end_of_its_last_line() {
        for (source, want) in [("a = [\n", 6), ("a = [", 6)] {
            let end = source.len();
            let shown = render("f", source, &Fault::new(Span { start: end, end }, "open"));
            let want = format!("error: f:1:{want}: open\n  1 | a = [\n    |      ^");
            assert_eq!(shown, want, "{source:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let long = format!("{}BAD{}", "a".repeat(500), "b".repeat(500));
        let shown = rendered(&long, "BAD", Some("hint"));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "error: f.toml:1:501: wrong");
        assert_eq!(lines[1], format!("  1 | …{}BAD{}…", "a".repeat(40), "b".repeat(57)));
        assert_eq!(lines[2], format!("    | {}^^^ hint", " ".repeat(41)));
        let all = "x".repeat(5000);
        let shown = rendered(&all, &all, None);
        assert!(shown.lines().all(|line| line.chars().count() <= 110), "{shown}");
    }
}
