//! Markup and text, kept apart.
//!
//! Knows nothing of pages. Invariant: what is markup stands in the source of this program; everything
//! else is escaped so that it is text in an element and in a quoted attribute alike.

use std::fmt::{self, Display, Write};

/// A document that grows.
#[derive(Debug)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Appends what is markup.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Appends what is not.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a text does not fail.
        let _ = write!(Escaping(&mut self.0), "{text}");
        self
    }

    /// Appends octets that a peer has sent.
    pub(super) fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.text(String::from_utf8_lossy(octets))
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // They would turn what is around them, or could not be seen.
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
                    self.0.push(char::REPLACEMENT_CHARACTER);
                }
                other if other.is_control() => self.0.push(char::REPLACEMENT_CHARACTER),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_markup_is_escaped() {
        let mut html = Html::with_capacity(0);
        html.markup("<b title=\"").text("\"><script>'&").markup("\">");
        html.octets(b"\xff\x00\n<i>\xe2\x80\xae").text(7);
        assert_eq!(
            html.into_text(),
            "<b title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">\u{fffd}\u{fffd}\u{fffd}&lt;i&gt;\u{fffd}7"
        );
    }
}
