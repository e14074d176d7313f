//! The configuration file: a document becomes the same draft that the command line writes to.
//!
//! The keys are the names of the options with `_` for `-`, and their values are read by the same
//! functions; `[[backend]]` takes what [`SETTINGS`] has, and the files of TLS. Knows nothing of what
//! the command line says. Invariant: a key that is not understood is told, never passed over.
//!
//! Next: [`crate::cli`] lets the command line win over it.

use std::path::{Path, PathBuf};

use super::caret::{Fault, Span, line_of};
use super::options::{Draft, OPTIONS, Opt, Set, read_certificates, read_file, read_key};
use super::toml::{self, Brackets, Entry, Kind, Table, Value};
use crate::config::backend_url::{Identity, SETTINGS, parse_url};
use crate::config::nearest::nearest;
use crate::config::{BackendConfig, Host, Intake, Scheme, Verify};

/// The name of the tables that are backends.
const BACKEND: &str = "backend";

/// What a backend has in a file that is not among [`SETTINGS`].
const FILES_AND_PLACE: [&str; 4] = ["url", "ca", "cert", "key"];

/// A file that was read, for those who have something to say about it later.
pub(super) struct Origin {
    pub(super) name: String,
    pub(super) text: String,
    /// Where keys stand that make sense only together with something else.
    pub(super) places: Vec<(String, Span)>,
    /// Whether it speaks of backends, sense or not.
    pub(super) has_backends: bool,
}

impl Origin {
    /// Where a key stands.
    pub(super) fn place_of(&self, key: &str) -> Option<Span> {
        self.places.iter().rev().find(|(name, _)| name == key).map(|(_, span)| *span)
    }
}

/// Reads a file into a draft, as far as it makes sense, and says what does not.
///
/// # Errors
/// In words, when there is nothing that could be read.
pub(super) fn apply(path: &Path, draft: &mut Draft) -> Result<(Origin, Vec<Fault>), String> {
    let octets = read_file(path)?;
    Ok(apply_octets(path, &octets, draft))
}

fn apply_octets(path: &Path, octets: &[u8], draft: &mut Draft) -> (Origin, Vec<Fault>) {
    let octets = octets.strip_prefix("\u{feff}".as_bytes()).unwrap_or(octets);
    let text = String::from_utf8_lossy(octets).into_owned();
    let name = path.display().to_string();
    let mut origin = Origin { name, text, places: Vec::new(), has_backends: true };
    if let Err(error) = std::str::from_utf8(octets) {
        let at = error.valid_up_to();
        let fault = Fault::new(Span { start: at, end: at + 1 }, "this is not UTF-8");
        return (origin, vec![fault]);
    }
    draft.base = path.parent().map(Path::to_owned).unwrap_or_default();
    let (document, faults) = toml::read(&origin.text);
    let mut reading =
        Reading { draft, text: &origin.text, faults, places: Vec::new(), backends: Vec::new() };
    reading.options(&document.entries);
    for table in &document.tables {
        reading.table(table);
    }
    let is_sound = reading.faults.is_empty();
    let Reading { faults, places, backends, .. } = reading;
    origin.has_backends = !backends.is_empty() || !is_sound;
    origin.places = places;
    draft.base = PathBuf::new();
    (origin, faults)
}

struct Reading<'a> {
    draft: &'a mut Draft,
    text: &'a str,
    faults: Vec<Fault>,
    places: Vec<(String, Span)>,
    /// The places of backends that were read, and where.
    backends: Vec<(BackendConfig, Span)>,
}

impl Reading<'_> {
    fn options(&mut self, entries: &[Entry]) {
        for entry in self.without_repetition(entries) {
            if entry.key == BACKEND {
                self.inline_backends(&entry.value);
                continue;
            }
            match OPTIONS.iter().find(|option| option.key().as_ref() == Some(&entry.key)) {
                Some(option) => {
                    self.places.push((entry.key.clone(), entry.span));
                    self.option(option, &entry.value);
                }
                None => {
                    let hint = match nearest(&entry.key, option_keys().iter().map(|k| &**k)) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None if is_backend_key(&entry.key) => {
                            "this belongs below a [[backend]]".to_owned()
                        }
                        None => "the keys are those of roundel --help, with _ for -".to_owned(),
                    };
                    self.unknown_key(entry, hint);
                }
            }
        }
    }

    fn option(&mut self, option: &Opt, value: &Value) {
        match (&option.set, &value.kind) {
            (Set::Many { add, .. }, Kind::List(values)) => {
                for value in values {
                    self.take(value, option.value, add);
                }
            }
            (Set::Many { add: set, .. } | Set::Once(set), _) => {
                self.take(value, option.value, set);
            }
            (Set::Line(_), _) => {}
        }
    }

    /// Gives a value to what reads it, in the draft.
    fn take(
        &mut self,
        value: &Value,
        what: Option<&str>,
        mut set: impl FnMut(&mut Draft, &str) -> Result<(), String>,
    ) {
        let outcome = give(value, what, self.text, |text| set(self.draft, text));
        self.faults.extend(outcome.err());
    }

    fn table(&mut self, table: &Table) {
        let near = nearest(&table.name, [BACKEND]);
        match (table.brackets, near) {
            (Brackets::Double, Some(_)) if table.name == BACKEND => {}
            (Brackets::Single | Brackets::Double, Some(_)) => {
                let text = match table.brackets {
                    Brackets::Single => "a backend stands in two brackets",
                    Brackets::Double => "there is no table of this name",
                };
                let fault = Fault::new(table.span, text);
                self.faults.push(fault.hint(format!("did you mean [[{BACKEND}]]?")));
            }
            // That a name is missing has been told.
            (_, None) if table.name.is_empty() => return,
            (_, None) => {
                let fault = Fault::new(table.span, "there is no table of this name");
                self.faults.push(fault.hint(format!("the only ones are [[{BACKEND}]]")));
                return;
            }
        }
        self.backend(&table.entries, table.span);
    }

    /// `backend = [{ url = "…" }]`, which is the same in TOML.
    fn inline_backends(&mut self, value: &Value) {
        match &value.kind {
            Kind::List(values) => {
                for value in values {
                    match &value.kind {
                        Kind::Table(entries) => self.backend(entries, value.span),
                        _ => self.no_backend_table(value),
                    }
                }
            }
            Kind::Table(entries) => self.backend(entries, value.span),
            _ => self.no_backend_table(value),
        }
    }

    fn no_backend_table(&mut self, value: &Value) {
        if !matches!(value.kind, Kind::Broken) {
            let fault = Fault::new(value.span, "a backend is a table");
            self.faults.push(fault.hint("write [[backend]], and below it url = \"http://…\""));
        }
    }

    fn backend(&mut self, entries: &[Entry], span: Span) {
        let entries: Vec<&Entry> = self.without_repetition(entries);
        let faults_before = self.faults.len();
        let find = |key: &str| entries.iter().copied().find(|entry| entry.key == key);
        let place = find("url").map(|entry| (self.url(&entry.value), entry.value.span));
        if place.is_none() {
            let fault = Fault::new(span, "a backend needs a url");
            self.faults.push(fault.hint("add url = \"http://127.0.0.1:3001\""));
        }
        let stand_in = || BackendConfig::new(Scheme::Https, Host::Name(BACKEND.to_owned()), 443);
        let url = place.as_ref().and_then(|(url, _)| url.clone());
        let is_url_good = url.is_some();
        let mut backend = url.unwrap_or_else(stand_in);
        for entry in &entries {
            self.setting(&mut backend, entry);
        }
        self.files(&mut backend, &find);
        if backend.scheme == Scheme::Http {
            self.refuse_tls(&entries);
        }
        let Some((_, url_span)) = place.filter(|_| is_url_good) else { return };
        if let Some((_, first)) = self.backends.iter().find(|(one, _)| one.is_same_place(&backend))
        {
            let hint = format!("the first is in line {}", line_of(self.text, first.start));
            let fault = Fault::new(url_span, "this backend is named twice");
            self.faults.push(fault.hint(format!("{hint}; for more turns, give it a weight")));
        }
        self.backends.push((backend.clone(), url_span));
        if backend.intake == Intake::Drained
            && let Some(drain) = find("drain")
        {
            self.places.push((drain.key.clone(), drain.span));
        }
        if self.faults.len() == faults_before {
            self.draft.backends.push(backend);
        }
    }

    fn url(&mut self, value: &Value) -> Option<BackendConfig> {
        let mut url = None;
        let outcome = give(value, Some("URL"), self.text, |text| {
            if text.contains(',') {
                return Err(
                    "a url has nothing behind it: what is said besides has its own key".into()
                );
            }
            url = Some(parse_url(text)?);
            Ok(())
        });
        self.faults.extend(outcome.err());
        url
    }

    fn setting(&mut self, backend: &mut BackendConfig, entry: &Entry) {
        if FILES_AND_PLACE.contains(&entry.key.as_str()) {
            return;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == entry.key) else {
            let own = SETTINGS.iter().map(|setting| setting.name).chain(FILES_AND_PLACE);
            let hint = match nearest(&entry.key, own) {
                _ if option_keys().contains(&entry.key) => {
                    "this belongs above the first [[backend]]".to_owned()
                }
                Some(near) => format!("did you mean \"{near}\"?"),
                None => {
                    let all: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
                    format!("a backend has url, ca, cert, key, {}", all.join(", "))
                }
            };
            return self.unknown_key(entry, hint);
        };
        let outcome =
            give(&entry.value, setting.value, self.text, |text| (setting.set)(backend, text));
        self.faults.extend(outcome.err());
    }

    /// Whom to trust, and who we are.
    fn files<'e>(
        &mut self,
        backend: &mut BackendConfig,
        find: &impl Fn(&str) -> Option<&'e Entry>,
    ) {
        if let Some(ca) = find("ca") {
            backend.tls.ca_pem = self.file(ca, read_certificates);
            if backend.tls.verify == Verify::Nothing {
                let fault = Fault::new(ca.span, "with insecure = true nobody is asked for trust");
                self.faults.push(fault.hint("leave one of the two out"));
            }
        }
        let (cert, key) = (find("cert"), find("key"));
        for (one, other, name) in [(cert, key, "key"), (key, cert, "cert")] {
            if let (Some(one), None) = (one, other) {
                let text = format!("\"{}\" needs \"{name}\" beside it", one.key);
                let hint = format!("add {name} = \"FILE\"");
                self.faults.push(Fault::new(one.span, text).hint(hint));
            }
        }
        let cert_pem = cert.and_then(|entry| self.file(entry, read_certificates));
        let key_pem = key.and_then(|entry| self.file(entry, read_key));
        if let (Some(cert_pem), Some(key_pem)) = (cert_pem, key_pem) {
            backend.tls.identity = Some(Identity { cert_pem, key_pem });
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        read: fn(&Path) -> Result<Vec<u8>, String>,
    ) -> Option<Vec<u8>> {
        let mut octets = None;
        let base = &self.draft.base;
        let outcome = give(&entry.value, Some("FILE"), self.text, |name| {
            octets = Some(read(&base.join(name))?);
            Ok(())
        });
        self.faults.extend(outcome.err());
        octets
    }

    /// What is said of TLS where there is none.
    fn refuse_tls(&mut self, entries: &[&Entry]) {
        let says_something = |entry: &Entry| match entry.key.as_str() {
            "ca" | "cert" | "key" => true,
            "insecure" => matches!(entry.value.kind, Kind::Boolean(true)),
            _ => false,
        };
        for entry in entries.iter().filter(|entry| says_something(entry)) {
            let text = format!("\"{}\" is for https backends", entry.key);
            let hint = "the url of this one does not begin with https://";
            self.faults.push(Fault::new(entry.span, text).hint(hint));
        }
    }

    /// The entries, each key once.
    fn without_repetition<'e>(&mut self, entries: &'e [Entry]) -> Vec<&'e Entry> {
        let mut once: Vec<&Entry> = Vec::new();
        for entry in entries {
            match once.iter().find(|earlier| earlier.key == entry.key) {
                None => once.push(entry),
                Some(first) => {
                    let text = format!("the key {:?} stands here twice", entry.key);
                    let line = line_of(self.text, first.span.start);
                    let fault = Fault::new(entry.span, text);
                    self.faults.push(fault.hint(format!("the first is in line {line}")));
                }
            }
        }
        once
    }

    fn unknown_key(&mut self, entry: &Entry, hint: String) {
        // A key that is no text at all has been told.
        if !entry.key.is_empty() {
            let fault = Fault::new(entry.span, format!("unknown key {:?}", entry.key));
            self.faults.push(fault.hint(hint));
        }
    }
}

fn option_keys() -> Vec<String> {
    OPTIONS.iter().filter_map(Opt::key).collect()
}

fn is_backend_key(key: &str) -> bool {
    FILES_AND_PLACE.contains(&key) || SETTINGS.iter().any(|setting| setting.name == key)
}

/// Gives the text of a value to what reads it. A number is written as one and a switch is true or
/// false; everything else, also what has a unit, is text in quotes. What is called `what` tells which.
fn give(
    value: &Value,
    what: Option<&str>,
    source: &str,
    mut set: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), Fault> {
    let span = value.span;
    let written = source.get(span.start..span.end).unwrap_or_default();
    let is_number = what == Some("N");
    match (what, &value.kind) {
        (_, Kind::Broken) | (None, Kind::Boolean(false)) => Ok(()),
        (None, Kind::Boolean(true)) => set("").map_err(|said| setters_fault(span, &said, "")),
        (None, _) => Err(Fault::new(span, "a switch is true or false")),
        (Some(_), Kind::Integer(number)) if is_number => {
            set(number).map_err(|said| setters_fault(span, &said, ""))
        }
        (Some(_), Kind::Text(text)) => match set(text) {
            Err(said) => Err(setters_fault(span, &said, if is_number { "" } else { "\"" })),
            Ok(()) if is_number => Err(Fault::new(span, "a number stands without quotes")
                .hint(format!("did you mean {text}?"))),
            Ok(()) => Ok(()),
        },
        (Some(_), Kind::Integer(_) | Kind::Boolean(_) | Kind::Other) => match set(written) {
            Err(said) => Err(setters_fault(span, &said, "\"")),
            Ok(()) => Err(Fault::new(span, "text stands in quotes")
                .hint(format!("did you mean {written:?}?"))),
        },
        (Some(_), Kind::List(_) | Kind::Table(_)) => {
            Err(Fault::new(span, "here stands one value, not several"))
        }
    }
}

/// What reads values ends with what was meant, if it can tell: here that stands below the line, and
/// in the quotes that it needs.
fn setters_fault(span: Span, said: &str, quote: &str) -> Fault {
    match said.split_once(": did you mean ").and_then(|(text, rest)| {
        let meant = rest.strip_suffix('?')?;
        Some(Fault::new(span, text).hint(format!("did you mean {quote}{meant}{quote}?")))
    }) {
        Some(fault) => fault,
        None => Fault::new(span, said),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::caret::render;

    const PIECES: &[&str] = &[
        "listen",
        "timeout",
        "backend",
        "url",
        "weight",
        "insecure",
        "ca",
        "drain",
        "x",
        "a.b",
        "'q'",
        " = ",
        "=",
        "\"http://h\"",
        "\"https://h/\"",
        "\"5s\"",
        "5",
        "5s",
        "true",
        "1.5",
        "1979-05-27",
        "[[backend]]",
        "[backend]",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "\"\"\"",
        "\n",
        "\r\n",
        "\t",
        "#",
        "ä",
        "\u{1b}",
        "\\",
        "\u{feff}",
        "\0",
        "0x10",
        "-1",
        "[[",
        "]]",
        ".",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever a file says, there is an answer, and each fault is three lines that can be shown.
        #[test]
        fn no_text_is_beyond_us(places in prop::collection::vec(0..PIECES.len(), 0..40)) {
            let text: String = places.iter().map(|place| PIECES[*place]).collect();
            let (origin, faults) =
                apply_octets(Path::new("f.toml"), text.as_bytes(), &mut Draft::default());
            for fault in faults {
                let shown = render(&origin.name, &origin.text, &fault);
                prop_assert_eq!(shown.split('\n').count(), 3, "{}", shown);
                prop_assert!(shown.starts_with("error: f.toml:"), "{}", shown);
                prop_assert!(!shown.contains('\u{1b}'), "{}", shown);
            }
        }

        #[test]
        fn nor_are_any_octets(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let (origin, faults) =
                apply_octets(Path::new("f.toml"), &octets, &mut Draft::default());
            for fault in faults {
                prop_assert_eq!(render(&origin.name, &origin.text, &fault).split('\n').count(), 3);
            }
        }
    }
}
