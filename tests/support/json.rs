//! Just enough JSON (RFC 8259) to read what roundel writes, and to notice where it is none.

use std::collections::BTreeMap;

/// Every value that is no object and no array, under the names and numbers that lead to it:
/// `backends.0.state`. Texts are as they are meant, everything else as it is written.
#[track_caller]
pub(crate) fn json(text: &str) -> BTreeMap<String, String> {
    let mut reader = Reader { rest: text, found: BTreeMap::new() };
    reader.value(String::new());
    assert_eq!(reader.rest.trim(), "", "behind the value");
    reader.found
}

struct Reader<'a> {
    rest: &'a str,
    found: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn take(&mut self, begin: char) -> bool {
        match self.rest.strip_prefix(begin) {
            Some(rest) => self.rest = rest,
            None => return false,
        }
        true
    }

    fn value(&mut self, path: String) {
        if self.take('{') {
            self.members(&path, '}', |reader, _| {
                let name = reader.text();
                assert!(reader.take(':'), "a colon before {:?}", reader.rest);
                name
            });
        } else if self.take('[') {
            self.members(&path, ']', |_, place| place.to_string());
        } else if self.rest.starts_with('"') {
            let text = self.text();
            assert!(self.found.insert(path.clone(), text).is_none(), "{path} twice");
        } else {
            let end = self.rest.find([',', ']', '}', '\n']).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            let is_word = ["true", "false", "null"].contains(&word);
            assert!(is_word || is_number(word), "{word:?} is no value");
            self.rest = rest;
            assert!(self.found.insert(path.clone(), word.to_owned()).is_none(), "{path} twice");
        }
    }

    fn members(&mut self, path: &str, close: char, name: impl Fn(&mut Self, usize) -> String) {
        if self.take(close) {
            return;
        }
        for place in 0.. {
            let name = name(self, place);
            self.value(if path.is_empty() { name } else { format!("{path}.{name}") });
            if self.take(close) {
                return;
            }
            assert!(self.take(','), "a comma before {:?}", self.rest);
        }
    }

    fn text(&mut self) -> String {
        assert!(self.take('"'), "a text at {:?}", self.rest);
        let mut units: Vec<u16> = Vec::new();
        loop {
            let next = self.rest.chars().next().expect("the end of a text");
            self.rest = self.rest.split_at(next.len_utf8()).1;
            match next {
                '"' => return String::from_utf16(&units).expect("whole characters"),
                '\\' => units.push(self.escape()),
                ' '..='~' => units.push(next as u16),
                other => panic!("{other:?} stands in a text as it is"),
            }
        }
    }

    fn escape(&mut self) -> u16 {
        let (kind, rest) = self.rest.split_at(1);
        let (unit, rest) = match kind {
            "u" => {
                let (digits, rest) = rest.split_at(4);
                (u16::from_str_radix(digits, 16).expect("four digits"), rest)
            }
            "n" => (u16::from(b'\n'), rest),
            "r" => (u16::from(b'\r'), rest),
            "t" => (u16::from(b'\t'), rest),
            "\"" | "\\" => (u16::from(kind.as_bytes()[0]), rest),
            other => panic!("an escape {other:?}"),
        };
        self.rest = rest;
        unit
    }
}

fn is_number(word: &str) -> bool {
    let (whole, decimals) = word.split_once('.').unwrap_or((word, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(decimals) && (whole == "0" || !whole.starts_with('0'))
}
