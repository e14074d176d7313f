//! The man page, as roff that groff and mandoc read.
//!
//! What is known of options comes from their table; what no table has is written here. Invariant: a
//! text of ours becomes roff through [`roff`] only, so that no hyphen or point is taken for
//! something else.

use std::fmt::Write;

use super::super::options::{Draft, OPTIONS};
use crate::config::backend_url::SETTINGS;

/// The day of the last change of what is written here.
const DATE: &str = "2026-11-26";

/// Where a line of the source ends at the latest, escapes not counted.
const LINE_OCTETS_MAX: usize = 72;

/// What is known of a backend in a file. Those that are not among [`SETTINGS`] have to stand here
/// as well.
const BACKEND_KEYS: &[(&str, &str)] = &[
    (
        "url",
        "where it is: http://HOST[:PORT][/PREFIX], https:// likewise, or unix:/PATH[:/PREFIX]. Needed",
    ),
    ("weight", "how many turns it gets where others get one"),
    ("max_conns", "the most connections to it, whatever --max-conns-per-backend says"),
    (
        "host",
        "the Host that it sees: client (what the client sent), backend (its own), or this one",
    ),
    ("backup", "it gets only what no other can take"),
    ("drain", "it gets no new requests"),
    ("insecure", "its certificate is not checked, so anybody in between can read and change all"),
    ("ca", "a PEM file with those who vouch for it, instead of --ca"),
    ("cert", "a PEM file with the certificate that it is shown if it asks; needs key"),
    ("key", "a PEM file with the private key of that"),
];

const SIGNALS: &[(&str, &str)] = &[
    (
        "TERM, INT",
        "Let nobody in any more, answer the requests that are open, and exit; what is still open \
         after --drain-timeout is cut. A second one exits at once.",
    ),
    (
        "HUP",
        "Read the arguments and files anew. A configuration in which something is wrong is told \
         in the log and changes nothing.",
    ),
    ("USR1", "Open the access log anew, for it may have been moved away."),
    (
        "USR2",
        "Start the binary anew, as it is now, and let it take over the listening sockets; drain \
         once it serves. If it cannot, go on.",
    ),
];

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "Stopped as asked; printed what was asked for; the doctor found nothing that fails."),
    ("1", "Could not run; the doctor found something that fails."),
    ("2", "Wrong options or a wrong file, which are told on the standard error."),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("Three requests show how turns are taken:", "roundel --demo"),
    (
        "Two backends, one with twice the turns:",
        "roundel http://127.0.0.1:3001,weight=2 http://127.0.0.1:3002",
    ),
    ("Whether a configuration makes sense:", "roundel --config roundel.toml --check"),
    (
        "Whether its backends do well, before there is traffic:",
        "roundel doctor --config roundel.toml",
    ),
    ("Another configuration while it runs:", "kill -HUP \"$(pidof roundel)\""),
];

const FILES: &[(&str, &str)] = &[
    ("FILE", "What --config names. Names of files in it are relative to it."),
    ("/etc/hosts, /etc/resolv.conf", "Where names of backends are looked up by the system."),
    (
        "/proc/sys/net/core/somaxconn",
        "How many clients may come at once; the doctor says when that is few.",
    ),
];

/// The whole page.
pub(super) fn page() -> String {
    let mut page = Page(String::new());
    let version = env!("CARGO_PKG_VERSION");
    page.line(&format!(".TH ROUNDEL 1 {DATE} \"roundel {version}\" \"User Commands\""));
    // URLs are not hyphenated, and lines not stretched.
    page.line(".nh");
    page.line(".ad l");
    page.section("NAME");
    page.text("roundel - HTTP load balancer and reverse proxy");
    page.synopsis();
    page.description();
    page.section("OPTIONS");
    page.options();
    page.section("CONFIGURATION FILE");
    page.file();
    page.section("THE DOCTOR");
    page.doctor();
    for (title, entries) in [("SIGNALS", SIGNALS), ("EXIT STATUS", EXIT_CODES), ("FILES", FILES)] {
        page.section(title);
        for (name, text) in entries {
            page.entry(&bold(name), text);
        }
    }
    page.section("EXAMPLES");
    for (at, (text, command)) in EXAMPLES.iter().enumerate() {
        if at > 0 {
            page.line(".PP");
        }
        page.text(text);
        page.example(&[command]);
    }
    page.0
}

/// A page that is being written.
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn section(&mut self, title: &str) {
        self.line(&format!(".SH {title}"));
    }

    fn text(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > LINE_OCTETS_MAX {
                self.line(&roff(&line));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&roff(&line));
    }

    fn paragraph(&mut self, text: &str) {
        self.line(".PP");
        self.text(text);
    }

    /// A name, and what is said of it below, indented.
    fn entry(&mut self, name: &str, text: &str) {
        self.line(".TP");
        self.line(name);
        self.text(text);
    }

    /// Lines as they are.
    fn example(&mut self, lines: &[&str]) {
        self.line(".PP");
        self.line(".RS 4");
        self.line(".nf");
        for line in lines {
            self.line(&roff(line));
        }
        self.line(".fi");
        self.line(".RE");
    }

    fn synopsis(&mut self) {
        self.section("SYNOPSIS");
        for (at, words) in [
            "[\\fIOPTIONS\\fR] \\fIBACKEND\\fR...",
            "[\\fIOPTIONS\\fR] \\fB\\-\\-config\\fR \\fIFILE\\fR",
            "\\fB\\-\\-demo\\fR",
            "\\fBdoctor\\fR [\\fIOPTIONS\\fR] \\fIBACKEND\\fR...|\\fB\\-\\-config\\fR \\fIFILE\\fR",
        ]
        .iter()
        .enumerate()
        {
            if at > 0 {
                self.line(".br");
            }
            self.line(&format!("\\fBroundel\\fR {words}"));
        }
    }

    fn description(&mut self) {
        self.section("DESCRIPTION");
        self.text(
            "roundel takes HTTP/1.1 and 1.0 requests and gives each to one of its backends, in \
             turn, over a connection that is kept for the next one. A backend that fails gets no \
             more requests until it is back; what it has lost goes to another one, where that is \
             safe.",
        );
        self.paragraph(
            "A BACKEND is http://HOST[:PORT][/PREFIX] or https://HOST[:PORT][/PREFIX], or \
             unix:/PATH[:/PREFIX] for a Unix socket. The prefix is put in front of each path. Behind it may follow, with commas, what a file says of \
             it below: http://10.0.0.1,weight=3,backup.",
        );
        self.paragraph(
            "Durations have a unit: 250ms, 5s, 2m, 1h. Sizes too: 100B, 64KiB, 10MiB, 1GiB. The \
             configuration that the options make, and what it may cost, is told with --check.",
        );
    }

    fn options(&mut self) {
        let nothing_said = Draft::default();
        for option in OPTIONS {
            let long = format!("--{}", option.long);
            let short = option.short.map(|short| bold(&format!("-{short}")) + ", ");
            let value = option.value.map(|value| format!(" \\fI{}\\fR", roff(value)));
            let name =
                short.unwrap_or_default() + &bold(&long) + value.as_deref().unwrap_or_default();
            let default = (option.shown)(&nothing_said)
                .map_or_else(String::new, |default| format!(" Default: {default}."));
            self.entry(&name, &format!("{}.{default}", sentence(option.help)));
        }
    }

    fn file(&mut self) {
        self.text(
            "A file for --config is TOML. Its keys are the options by their names, with _ for -; \
             a number is written as one, a switch is true or false, and everything else is text in \
             quotes. An option that may be repeated takes a list. What the command line says wins: \
             a list there replaces that of the file, and so do backends.",
        );
        let alone: Vec<String> = OPTIONS
            .iter()
            .filter(|option| option.key().is_none())
            .map(|option| format!("--{}", option.long))
            .collect();
        self.paragraph(&format!("For the command line alone are {}.", alone.join(", ")));
        self.example(&[
            "listen = \"127.0.0.1:8000\"",
            "health = \"/healthz\"",
            "timeout = \"30s\"",
            "",
            "[[backend]]",
            "url = \"http://127.0.0.1:3001\"",
            "weight = 3",
            "",
            "[[backend]]",
            "url = \"https://localhost:3002/app\"",
            "ca = \"internal.pem\"",
        ]);
        self.paragraph("Each backend is a table [[backend]]. It has these keys:");
        for (key, text) in BACKEND_KEYS {
            let value = SETTINGS.iter().find(|setting| setting.name == *key);
            let value = value.and_then(|setting| setting.value);
            let value = value.map_or_else(String::new, |value| format!(" = \\fI{value}\\fR"));
            self.entry(&(bold(key) + &value), &format!("{}.", sentence(text)));
        }
    }

    fn doctor(&mut self) {
        self.text(
            "roundel doctor takes the same options and file, goes and looks, and tells what it \
             found, one line each: ok, warn or fail; an address, the URL of a backend, or machine; \
             what was looked at; what there is; and what to do about it.",
        );
        self.example(&[
            "fail http://127.0.0.1:3001 connect: 127.0.0.1:3001 refuses; start it, or ...",
        ]);
        self.paragraph(
            "It looks at ports (listen, admin), limits (descriptors, backlog), and of each \
             backend at its name, at each address (connect), at tls and certificate, at the answer \
             to one GET (of the path of --health, or of /), and for how long it keeps a connection \
             that nobody uses (idle): as long as --pool-timeout, but for ten seconds at most. All \
             backends are asked side by side, and nothing is waited for longer than its timeout, \
             or ten seconds.",
        );
    }
}

/// A text that roff gives back as it is.
fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", roff(text))
}

/// With a capital letter, if it begins with a letter that can have one.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_backend_is_told() {
        for setting in SETTINGS {
            let is_told = BACKEND_KEYS.iter().any(|(key, _)| *key == setting.name);
            assert!(is_told, "{}", setting.name);
        }
    }

    #[test]
    fn no_text_becomes_a_command() {
        assert_eq!(roff(".SH it's -x \\n"), "\\&.SH it\\(aqs \\-x \\en");
        assert_eq!(roff("'x"), "\\(aqx");
    }
}
