//! JSON (RFC 8259), written piece by piece.
//!
//! Knows nothing of what is said. Invariants: what comes out is ASCII whatever goes in, so that no
//! terminal, script or line-wise reader can be led astray by it; octets that are not UTF-8 become
//! U+FFFD. Nothing is allocated but in the text itself.
//!
//! Next: [`super::status`] and [`super::log_line`] write with it.

use std::net::IpAddr;
use std::time::Duration;

use crate::h1::text::{push_address, push_decimal, push_millis, push_timestamp};

/// A text that grows. Whoever opens a value writes one; members and items get their commas here.
#[derive(Debug)]
pub struct Json<'a> {
    out: &'a mut Vec<u8>,
    /// Whether a value stands in front of the next one, which needs a comma then.
    follows_value: bool,
}

impl<'a> Json<'a> {
    /// Writes behind what is there.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, follows_value: false }
    }

    fn begin_value(&mut self) {
        if self.follows_value {
            self.out.push(b',');
        }
        self.follows_value = true;
    }

    fn nest(&mut self, [open, close]: &[u8; 2], fill: impl FnOnce(&mut Self)) {
        self.begin_value();
        self.out.push(*open);
        self.follows_value = false;
        fill(self);
        self.out.push(*close);
        self.follows_value = true;
    }

    /// An object, filled with members.
    pub fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.nest(b"{}", fill);
    }

    /// An array, filled with values.
    pub fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.nest(b"[]", fill);
    }

    /// The name of a member; its value comes next.
    pub fn member(&mut self, name: impl AsRef<[u8]>) -> &mut Self {
        self.text(name);
        self.out.push(b':');
        self.follows_value = false;
        self
    }

    /// A text, of octets that may be anything.
    pub fn text(&mut self, octets: impl AsRef<[u8]>) {
        self.begin_value();
        self.out.push(b'"');
        for chunk in octets.as_ref().utf8_chunks() {
            chunk.valid().chars().for_each(|character| push_escaped(self.out, character));
            if !chunk.invalid().is_empty() {
                push_escaped(self.out, char::REPLACEMENT_CHARACTER);
            }
        }
        self.out.push(b'"');
    }

    /// A number.
    pub fn number(&mut self, number: u64) {
        self.begin_value();
        push_decimal(self.out, number);
    }

    /// A count.
    pub fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    /// A duration in milliseconds, with microseconds as decimals.
    pub fn millis(&mut self, duration: Duration) {
        self.begin_value();
        push_millis(self.out, duration);
    }

    /// A time as text (RFC 3339).
    pub fn time(&mut self, unix_ms: u64) {
        self.begin_value();
        self.out.push(b'"');
        push_timestamp(self.out, unix_ms);
        self.out.push(b'"');
    }

    /// An address as text.
    pub fn address(&mut self, address: IpAddr) {
        self.begin_value();
        self.out.push(b'"');
        push_address(self.out, address);
        self.out.push(b'"');
    }

    /// Yes or no.
    pub fn truth(&mut self, is_so: bool) {
        self.begin_value();
        self.out.extend_from_slice(if is_so { b"true" } else { b"false" });
    }

    /// A value that there may be, or null.
    pub fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => {
                self.begin_value();
                self.out.extend_from_slice(b"null");
            }
        }
    }
}

fn push_escaped(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        ' '..='~' => out.push(character as u8),
        other => {
            let mut units = [0; 2];
            for unit in other.encode_utf16(&mut units) {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(b"0123456789abcdef"[usize::from(*unit >> shift & 15)]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Json<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Json::new(&mut out));
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn commas_stand_between_values_and_nowhere_else() {
        let text = written(|json| {
            json.object(|json| {
                json.member("a").array(|json| {
                    json.number(1);
                    json.array(|_| {});
                    json.object(|json| json.member("b").truth(true));
                    json.maybe(None, Json::number);
                });
                json.member("c").object(|_| {});
                json.member("d").maybe(Some(2), Json::number);
                json.member("e").millis(Duration::from_micros(1_002_003));
                json.member("f").time(0);
            });
        });
        assert_eq!(
            text,
            "{\"a\":[1,[],{\"b\":true},null],\"c\":{},\"d\":2,\"e\":1002.003,\
             \"f\":\"1970-01-01T00:00:00.000Z\"}"
        );
    }

    #[test]
    fn whatever_goes_in_is_ascii_and_one_line() {
        for (octets, want) in [
            (b"plain".as_slice(), "plain"),
            (b"\"\\/", "\\\"\\\\/"),
            (b"\n\r\t\0\x1b\x7f", "\\n\\r\\t\\u0000\\u001b\\u007f"),
            ("\u{2028}\u{2029}\u{9b}".as_bytes(), "\\u2028\\u2029\\u009b"),
            ("ä\u{202e}😀".as_bytes(), "\\u00e4\\u202e\\ud83d\\ude00"),
            (b"a\xff\xfeb\xc3", "a\\ufffd\\ufffdb\\ufffd"),
            (b"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"),
            (b"</script>", "</script>"),
        ] {
            assert_eq!(written(|json| json.text(octets)), format!("\"{want}\""));
        }
        let all: Vec<u8> = (0..=255).collect();
        let text = written(|json| json.text(&all));
        assert!(text.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{text}");
    }
}
