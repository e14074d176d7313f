//! TOML as a small document: keys and values, each with its place. The one file that names
//! `toml_parser`.
//!
//! Goes on behind what is no TOML, so that all faults are told at once. Knows nothing of what keys
//! mean. Invariants: each key and each value has its place in the text; what is not understood is
//! [`Kind::Broken`] and told once; nothing is deeper than [`DEPTH_MAX`].
//!
//! Next: `file.rs` makes a configuration of it.

use std::borrow::Cow;
use std::iter::Peekable;
use std::vec::IntoIter;

use toml_parser::decoder::ScalarKind;
use toml_parser::parser::{Event, EventKind, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{Expected, ParseError, Source};

use super::caret::{Fault, Span};

/// How deep lists and inline tables may stand in each other. A configuration needs two.
const DEPTH_MAX: u32 = 4;

/// A whole file.
#[derive(Default, Debug)]
pub(super) struct Document {
    /// What stands above the first table.
    pub(super) entries: Vec<Entry>,
    pub(super) tables: Vec<Table>,
}

/// `[name]` or `[[name]]` and what stands below it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// The name with its brackets.
    pub(super) span: Span,
    pub(super) brackets: Brackets,
    pub(super) entries: Vec<Entry>,
}

/// Whether there can be several tables of one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Brackets {
    /// `[name]`: there cannot.
    Single,
    /// `[[name]]`: there can.
    Double,
}

/// `key = value`.
#[derive(Debug)]
pub(super) struct Entry {
    /// Without quotes; the parts of a dotted key with dots between them.
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) value: Value,
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Kind {
    /// In quotes; here without them.
    Text(String),
    /// In decimal digits if it was written so, else as it was written.
    Integer(String),
    /// `true` or `false`.
    Boolean(bool),
    /// Anything else that is one word: nothing here is a fraction or a date.
    Other,
    /// `[…]`
    List(Vec<Value>),
    /// `{…}`
    Table(Vec<Entry>),
    /// No value; that has been told.
    Broken,
}

/// Reads a file. What is left out of the document is among the faults.
pub(super) fn read(text: &str) -> (Document, Vec<Fault>) {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut events: Vec<Event> = Vec::new();
    let mut errors: Vec<ParseError> = Vec::new();
    let mut guard = RecursionGuard::new(&mut events, DEPTH_MAX);
    let mut checked = ValidateWhitespace::new(&mut guard, source);
    parse_document(&tokens, &mut checked, &mut errors);
    events.retain(|event| {
        !matches!(event.kind(), EventKind::Whitespace | EventKind::Comment | EventKind::Newline)
    });
    let faults = errors.iter().map(syntax_fault).collect();
    let mut walk = Walk { source, events: events.into_iter().peekable(), faults };
    let document = walk.document();
    let mut faults = walk.faults;
    faults.sort_by_key(|fault| fault.span.start);
    (document, faults)
}

struct Walk<'s> {
    source: Source<'s>,
    events: Peekable<IntoIter<Event>>,
    faults: Vec<Fault>,
}

impl Walk<'_> {
    fn document(&mut self) -> Document {
        let mut document = Document::default();
        while let Some(event) = self.events.next() {
            match event.kind() {
                EventKind::StdTableOpen => {
                    let table = self.header(span_of(&event), Brackets::Single);
                    document.tables.push(table);
                }
                EventKind::ArrayTableOpen => {
                    let table = self.header(span_of(&event), Brackets::Double);
                    document.tables.push(table);
                }
                EventKind::SimpleKey => {
                    let entries = match document.tables.last_mut() {
                        Some(table) => &mut table.entries,
                        None => &mut document.entries,
                    };
                    entries.extend(self.entry(&event));
                }
                _ => {}
            }
        }
        document
    }

    fn header(&mut self, open: Span, brackets: Brackets) -> Table {
        let (mut name, mut end) = (String::new(), open.end);
        if let Some(first) = self.next_if(EventKind::SimpleKey) {
            let (key, span) = self.key(&first);
            (name, end) = (key, span.end);
        }
        let close = match brackets {
            Brackets::Single => EventKind::StdTableClose,
            Brackets::Double => EventKind::ArrayTableClose,
        };
        if let Some(close) = self.next_if(close) {
            end = close.span().end();
        }
        Table { name, span: Span { start: open.start, end }, brackets, entries: Vec::new() }
    }

    /// A key without a value is no entry; that is told already.
    fn entry(&mut self, first: &Event) -> Option<Entry> {
        let (key, span) = self.key(first);
        self.next_if(EventKind::KeyValSep)?;
        let value = self.value(span.end);
        Some(Entry { key, span, value })
    }

    fn key(&mut self, first: &Event) -> (String, Span) {
        let mut key = self.part_of_key(first);
        let mut span = span_of(first);
        while self.next_if(EventKind::KeySep).is_some() {
            key.push('.');
            if let Some(part) = self.next_if(EventKind::SimpleKey) {
                key.push_str(&self.part_of_key(&part));
                span.end = part.span().end();
            }
        }
        (key, span)
    }

    fn part_of_key(&mut self, event: &Event) -> String {
        let mut out = Cow::Borrowed("");
        let mut errors: Vec<ParseError> = Vec::new();
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut out, &mut errors);
        }
        self.faults.extend(errors.iter().map(syntax_fault));
        out.into_owned()
    }

    fn value(&mut self, at: usize) -> Value {
        while self.next_if(EventKind::Error).is_some() {}
        let is_value = |event: &Event| {
            matches!(
                event.kind(),
                EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen
            )
        };
        match self.events.next_if(is_value) {
            Some(event) => self.value_at(&event),
            None => Value { span: Span { start: at, end: at }, kind: Kind::Broken },
        }
    }

    fn value_at(&mut self, event: &Event) -> Value {
        let mut span = span_of(event);
        let kind = match event.kind() {
            EventKind::ArrayOpen => {
                let mut values = Vec::new();
                while let Some(event) = self.events.next() {
                    span.end = span.end.max(event.span().end());
                    match event.kind() {
                        EventKind::ArrayClose => break,
                        EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                            values.push(self.value_at(&event));
                        }
                        _ => {}
                    }
                }
                Kind::List(values)
            }
            EventKind::InlineTableOpen => {
                let mut entries = Vec::new();
                while let Some(event) = self.events.next() {
                    span.end = span.end.max(event.span().end());
                    match event.kind() {
                        EventKind::InlineTableClose => break,
                        EventKind::SimpleKey => entries.extend(self.entry(&event)),
                        _ => {}
                    }
                }
                Kind::Table(entries)
            }
            _ => self.scalar(event),
        };
        Value { span, kind }
    }

    fn scalar(&mut self, event: &Event) -> Kind {
        let Some(raw) = self.source.get(event) else { return Kind::Broken };
        let mut out = Cow::Borrowed("");
        let mut errors: Vec<ParseError> = Vec::new();
        let kind = raw.decode_scalar(&mut out, &mut errors);
        let written = raw.as_str();
        if errors.is_empty() {
            return match kind {
                ScalarKind::String => Kind::Text(out.into_owned()),
                ScalarKind::Boolean(value) => Kind::Boolean(value),
                // Without the prefix of another base its digits would be another number.
                ScalarKind::Integer(_)
                    if ["0x", "0o", "0b"].iter().any(|p| written.starts_with(p)) =>
                {
                    Kind::Integer(written.to_owned())
                }
                ScalarKind::Integer(_) => Kind::Integer(out.into_owned()),
                ScalarKind::DateTime | ScalarKind::Float => Kind::Other,
            };
        }
        if event.encoding().is_none() && kind == ScalarKind::String {
            self.faults.push(bare_word(span_of(event), written));
        } else {
            self.faults.extend(errors.iter().map(syntax_fault));
        }
        Kind::Broken
    }

    fn next_if(&mut self, kind: EventKind) -> Option<Event> {
        self.events.next_if(|event| event.kind() == kind)
    }
}

fn bare_word(span: Span, word: &str) -> Fault {
    if word.is_empty() {
        return Fault::new(span, "a value is missing");
    }
    Fault::new(span, "text stands in quotes").hint(format!("did you mean {word:?}?"))
}

fn span_of(event: &Event) -> Span {
    Span { start: event.span().start(), end: event.span().end() }
}

/// The parser's words, and what it would have taken.
fn syntax_fault(error: &ParseError) -> Fault {
    let span = error.unexpected().or(error.context()).unwrap_or_default();
    let words: Vec<String> = error.expected().unwrap_or_default().iter().map(shown).collect();
    let hint = match words.as_slice() {
        [] => None,
        [one] => Some(format!("expected {one}")),
        [others @ .., last] => Some(format!("expected {} or {last}", others.join(", "))),
    };
    Fault::new(Span { start: span.start(), end: span.end() }, error.description()).perhaps(hint)
}

fn shown(expected: &Expected) -> String {
    match expected {
        Expected::Literal("\n") => "the end of the line".to_owned(),
        Expected::Literal(text) => (*text).to_owned(),
        Expected::Description(text) => (*text).to_owned(),
        _ => "something else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_its_keys_values_and_places() {
        let text = "a = \"x\"\n'b'.c = [1_000, 0x10, 'y']\n[[t]]\nd = true # e\nf = { g = 1.5 }\n";
        let (document, faults) = read(text);
        assert_eq!(faults, []);
        let [a, bc] = document.entries.as_slice() else { panic!("{document:?}") };
        assert_eq!((a.key.as_str(), bc.key.as_str()), ("a", "b.c"));
        assert!(matches!(&a.value.kind, Kind::Text(text) if text == "x"), "{a:?}");
        assert_eq!(text.get(a.value.span.start..a.value.span.end), Some("\"x\""));
        assert_eq!(text.get(bc.span.start..bc.span.end), Some("'b'.c"));
        assert_eq!(text.get(bc.value.span.start..bc.value.span.end), Some("[1_000, 0x10, 'y']"));
        let Kind::List(list) = &bc.value.kind else { panic!("{bc:?}") };
        let [Kind::Integer(one), Kind::Integer(two), Kind::Text(_)] =
            [0, 1, 2].map(|i| &list[i].kind)
        else {
            panic!("{list:?}")
        };
        assert_eq!((one.as_str(), two.as_str()), ("1000", "0x10"));
        let [table] = document.tables.as_slice() else { panic!("{document:?}") };
        assert_eq!((table.name.as_str(), table.brackets), ("t", Brackets::Double));
        assert_eq!(text.get(table.span.start..table.span.end), Some("[[t]]"));
        assert!(matches!(table.entries[0].value.kind, Kind::Boolean(true)));
        assert!(matches!(&table.entries[1].value.kind, Kind::Table(entries) if entries.len() == 1));
    }

    #[test]
    fn the_rest_is_read_behind_a_fault() {
        for (broken, faults_count) in [
            ("x = 5s", 1),
            ("x =", 1),
            ("x", 1),
            ("x = \"", 1),
            ("x = 'a", 1),
            ("x = \"a\\q\"", 1),
            ("[[x", 1),
            ("x = 1 2", 1),
            ("= 1", 1),
            ("x = [[[[[[[[[[[[1]]]]]]]]]]]]", 1),
        ] {
            let text = format!("a = 1\n{broken}\nb = 2\n");
            let (document, faults) = read(&text);
            assert_eq!(faults.len(), faults_count, "{broken}: {faults:?}");
            let tables = document.tables.iter().flat_map(|table| &table.entries);
            let keys: Vec<&str> =
                document.entries.iter().chain(tables).map(|entry| entry.key.as_str()).collect();
            assert!(keys.contains(&"a") && keys.contains(&"b"), "{broken}: {keys:?}");
        }
    }
}
