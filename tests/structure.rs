//! Holds the house's plan over the sources: who may use whom, which file names which dependency,
//! and a few words that may stand in one place only.
//!
//! The sources are read as text. Comments and literals are blanked out first, and so are items
//! under `#[cfg(test)]`; what is left is searched for paths. That is no Rust parser, and need not
//! be one: it has to notice what somebody writes without thinking, not what somebody hides. That it
//! does notice is itself a test, at the end: made-up sources, each with its fault.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test: a panic is how it reports, and all positions are found at ASCII characters"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The storeys of the house; a module may use what stands in a row below its own.
const STOREYS: &[&[&str]] =
    &[&["config"], &["h1"], &["net", "backend", "observe"], &["proxy"], &["server"]];

/// Usable by everyone, and using nobody.
const LEAVES: &[&str] = &["key", "clock"];

/// What stands beside the storeys, and what it may use.
const BESIDE: &[(&str, &[&str])] = &[("cli", &["config"])];

/// Each dependency, and the modules (`net`) or files (`net/tls.rs`) that may name it. An empty list
/// is everybody.
const SEAMS: &[(&str, &[&str])] = &[
    ("mio", &["net", "server"]),
    ("httparse", &["h1"]),
    ("slab", &["server/slots.rs"]),
    ("log", &[]),
    ("simple_logger", &["main"]),
    ("lexopt", &["cli"]),
    ("toml_parser", &["cli/toml.rs"]),
    ("socket2", &["net"]),
    ("libc", &["net"]),
    ("rustls", &["net/tls.rs"]),
    ("webpki_roots", &["net/tls.rs"]),
];

/// Crates that come with others, and would be named past their seam.
const INNER_SEAMS: &[(&str, &[&str])] = &[
    ("pki_types", &["net/tls.rs"]),
    ("rustls_pki_types", &["net/tls.rs"]),
    ("webpki", &["net/tls.rs"]),
    ("ring", &["net/tls.rs"]),
    ("aws_lc_rs", &["net/tls.rs"]),
];

/// How many crates the runtime tree may hold, roundel included.
const CRATES_MAX: usize = 24;

#[test]
fn the_sources_keep_to_the_plan() {
    let folder = root().join("src");
    let mut findings = Vec::new();
    let mut count = 0;
    for path in files_below(&folder, &[]) {
        if path.extension().is_some_and(|extension| extension == "rs") {
            count += 1;
            let source = fs::read_to_string(&path).expect("a source is UTF-8");
            let name = path.strip_prefix(&folder).expect("it is below src");
            findings.extend(check(name.to_str().expect("a plain name"), &source));
        }
    }
    assert!(count > 0, "no sources were found");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_dependency_has_its_seam() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let section = manifest.split("\n[dependencies]\n").nth(1).expect("it has dependencies");
    let section = section.split("\n[").next().expect("a first part");
    let named: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect();
    let seams: BTreeSet<String> = SEAMS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(named, seams, "Cargo.toml, and the table SEAMS of this file");
}

#[test]
fn the_runtime_tree_stays_small() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-e", "normal", "--prefix", "none", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // " (*)" marks a crate that was printed before.
    let crates: BTreeSet<&str> = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty())
        .collect();
    assert!(crates.len() > 1, "cargo tree printed {text:?}");
    assert!(crates.len() <= CRATES_MAX, "{} crates: {crates:#?}", crates.len());
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let mut skip: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    skip.push(".git");
    let mut findings = Vec::new();
    for path in files_below(&root(), &skip) {
        // What is not text names nothing.
        if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root()).expect("it is in the repository");
            findings.extend(names_elsewhere(&name.to_string_lossy(), &text));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// All findings in one source; `name` is its path below `src`.
fn check(name: &str, source: &str) -> Vec<String> {
    let stripped = without_comments_and_literals(source);
    let code = if is_test_file(name) { String::new() } else { without_tests(&stripped) };
    let mut findings = Vec::new();
    let mut find = |position: usize, text: String| {
        let line = stripped[..position].matches('\n').count() + 1;
        findings.push(format!("src/{name}:{line}: {text}"));
    };

    if !source.starts_with("//!") {
        find(0, "does not begin with //!".to_owned());
    }
    for (position, word) in words(&stripped) {
        if word == "unsafe" && name != "net/sys.rs" {
            find(position, "unsafe, which is for net/sys.rs only".to_owned());
        }
    }
    for (position, module) in used_modules(name, &code) {
        if !may_use(module_of(name), &module) {
            find(position, format!("{} may not use {module}", module_of(name)));
        }
    }
    for (seam, places) in SEAMS.iter().chain(INNER_SEAMS) {
        for position in roots(&code, seam) {
            if !places.is_empty() && !places.iter().any(|place| is_in(name, place)) {
                find(position, format!("{seam} is for {} only", places.join(", ")));
            }
        }
    }
    for position in roots(&code, "log") {
        if module_of(name) == "h1" {
            find(position, "h1 does not log".to_owned());
        }
    }
    for (forbidden, place) in [
        (".unwrap()", None),
        ("todo!", None),
        ("unimplemented!", None),
        ("Instant::now", Some("clock.rs")),
        ("SystemTime::now", Some("clock.rs")),
    ] {
        if place != Some(name) {
            for (position, _) in code.match_indices(forbidden) {
                find(position, format!("{forbidden} outside {}", place.unwrap_or("tests")));
            }
        }
    }
    findings
}

/// The module at the top of the crate to which a source belongs: `h1.rs` and `h1/scan.rs` to `h1`.
fn module_of(name: &str) -> &str {
    let first = name.split('/').next().expect("a first part");
    first.trim_end_matches(".rs")
}

/// Is the source this file, in the folder of this file (`net/tls/x.rs` belongs to `net/tls.rs`), or
/// of this module?
fn is_in(name: &str, place: &str) -> bool {
    match place.strip_suffix(".rs") {
        Some(folder) => name == place || name.starts_with(&format!("{folder}/")),
        None => module_of(name) == place,
    }
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

fn may_use(user: &str, used: &str) -> bool {
    if user == used || user == "main" || user == "lib" || LEAVES.contains(&used) {
        return true;
    }
    if let Some((_, allowed)) = BESIDE.iter().find(|(name, _)| *name == user) {
        return allowed.contains(&used);
    }
    let storey = |module| STOREYS.iter().position(|row| row.contains(&module));
    match (storey(user), storey(used)) {
        (Some(user), Some(used)) => used < user,
        // Leaves use nobody, and what stands beside is used by main alone. A module that is not on
        // the plan has to be put there first.
        _ => false,
    }
}

/// The modules at the top of the crate that the code names, through `crate::`, or through as many
/// `super::` as lead there.
fn used_modules(name: &str, code: &str) -> Vec<(usize, String)> {
    let depth = name.trim_end_matches("/mod.rs").matches('/').count() + 1;
    let prefixes = ["crate::".to_owned(), "super::".repeat(depth)];
    let mut used = Vec::new();
    for prefix in prefixes {
        for (position, _) in code.match_indices(&prefix) {
            let before = code[..position].chars().next_back();
            if before.is_some_and(|c| is_word(c) || c == ':') {
                continue;
            }
            let after = &code[position + prefix.len()..];
            if let Some(group) = after.trim_start().strip_prefix('{') {
                used.extend(heads_of_group(group).map(|head| (position, head)));
            } else {
                used.push((position, leading_word(after)));
            }
        }
    }
    let macros = |module: &String| module.is_empty() || module == "self" || is_type_name(module);
    used.retain(|(_, module)| !macros(module));
    used
}

/// An item of `lib.rs` itself, re-exported there, is a name without a storey.
fn is_type_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
}

/// The first word of each member of a `{a::b, c::{d, e}}` whose opening brace is already gone.
fn heads_of_group(group: &str) -> impl Iterator<Item = String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut expected = true;
    for (position, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            _ if expected && is_word(c) => {
                heads.push(leading_word(&group[position..]));
                expected = false;
            }
            _ => {}
        }
    }
    heads.into_iter()
}

fn leading_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| is_word(*c)).collect()
}

/// Where the code names a crate: at the root of a path, or in `use name` without a path. What comes
/// inside another crate (`rustls::pki_types`) is found inside a path, too.
fn roots(code: &str, name: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut previous = "";
    for (position, word) in words(code) {
        if word == name {
            let before = code[..position].trim_end();
            let is_root = before
                .strip_suffix("::")
                .is_none_or(|front| !front.ends_with(|c| is_word(c) || c == '>'));
            let begins_path = code[position + word.len()..].trim_start().starts_with("::");
            let imported = matches!(previous, "use" | "crate");
            let is_inner = matches!(name, "pki_types" | "webpki");
            if is_root && (begins_path || imported) || !is_root && is_inner {
                found.push(position);
            }
        }
        previous = word;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// All words with their positions.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let begin = rest + text[rest..].find(is_word)?;
        let length = text[begin..].find(|c| !is_word(c)).unwrap_or(text.len() - begin);
        rest = begin + length;
        Some((begin, &text[begin..rest]))
    })
}

/// The source with comments, strings and characters blanked out; all line ends stay.
fn without_comments_and_literals(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = match leading_blank(rest, out.chars().next_back()) {
            Some(length) => (length, false),
            None => (first.len_utf8(), true),
        };
        let (taken, left) = rest.split_at(length);
        out.push_str(&if keep { taken.to_owned() } else { blank(taken) });
        rest = left;
    }
    out
}

/// As many octets as before, so that a position in one text is one in the other.
fn blank(text: &str) -> String {
    text.chars()
        .flat_map(|c| std::iter::repeat_n(if c == '\n' { c } else { ' ' }, c.len_utf8()))
        .collect()
}

/// The length of the comment or literal with which the text begins, if it begins with one.
fn leading_blank(text: &str, previous: Option<char>) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    if let Some(inside) = text.strip_prefix('\'') {
        // 'a' and '\n' are characters; 'a without a closing quote is a lifetime.
        let mut inside = inside.chars();
        return match (inside.next()?, inside.next()?) {
            ('\\', _) => Some(quoted(text, '\'')),
            (one, '\'') => Some(2 + one.len_utf8()),
            _ => None,
        };
    }
    if previous.is_some_and(is_word) {
        return None;
    }
    // r"…", r#"…"#, and br likewise. The b of b"…" and b'…' may stay: the rest begins a literal.
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let body = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + length)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = true; // The opening quote is not the closing one.
    for (position, c) in text.char_indices() {
        match (escaped, c) {
            (true, _) => escaped = false,
            (false, '\\') => escaped = true,
            (false, c) if c == quote => return position + 1,
            (false, _) => {}
        }
    }
    text.len()
}

/// The stripped source with every item under `#[cfg(test)]` blanked out.
fn without_tests(stripped: &str) -> String {
    let mut out = stripped.to_owned();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        while let Some(begin) = out.find(attribute) {
            let end = begin + item_length(&out[begin..]);
            let blank = blank(&out[begin..end]);
            out.replace_range(begin..end, &blank);
        }
    }
    out
}

/// How far the item reaches with which the text begins: to its `;`, or to its closing brace.
fn item_length(text: &str) -> usize {
    let mut depth = 0;
    for (position, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return position + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return position + 1,
            _ => {}
        }
    }
    text.len()
}

/// Paths of somebody's machine and hosts of package registries in a text. The patterns are put
/// together here, for this file is searched too.
fn names_elsewhere(name: &str, text: &str) -> Vec<String> {
    let folders = ["work", "root", "home", "Users", "tmp/target"].map(|f| format!("/{f}"));
    let ends = ["/", "/", "/", "/", "-"];
    let hosts = [
        ("crates", "io"),
        ("pypi", "org"),
        ("npmjs", "org"),
        ("proxy.golang", "org"),
        ("deb.debian", "org"),
    ]
    .map(|(domain, top)| format!("{domain}.{top}"));
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut find = |found: &str| {
            findings.push(format!("{name}:{}: names {found}: {line}", number + 1));
        };
        if name.ends_with("Cargo.lock") && line.starts_with("source = ") {
            if line != lock_source() {
                find("a source of its own");
            }
            continue;
        }
        for (folder, end) in folders.iter().zip(ends) {
            let path = format!("{folder}{end}");
            let from_the_root = line.match_indices(&path).any(|(position, _)| {
                let before = line[..position].chars().next_back();
                !before.is_some_and(|c| is_word(c) || matches!(c, '.' | '/' | '}' | '-' | '*'))
            });
            if from_the_root {
                find(&path);
            }
        }
        for host in hosts.iter().filter(|host| line.contains(host.as_str())) {
            find(host);
        }
    }
    findings
}

/// The only source that a package in Cargo.lock may have: the public index, by its public name.
fn lock_source() -> String {
    let index = ["crates", "io-index"].join(".");
    format!("source = \"registry+https://github.com/rust-lang/{index}\"")
}

/// All files below a folder, without those whose name is to be skipped, in a fixed order.
fn files_below(folder: &Path, skip: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be listed") {
            let entry = entry.expect("an entry can be read");
            if skip.contains(&entry.file_name().to_string_lossy().as_ref()) {
                continue;
            }
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A made-up source and what must be found in it: nothing, or one thing with these words.
struct Case {
    name: &'static str,
    file: &'static str,
    source: &'static str,
    want: Option<&'static str>,
}

const CASES: &[Case] = &[
    Case {
        name: "a source that keeps to the plan",
        file: "proxy/exchange.rs",
        source: "//! Doc of crate::server and mio.\nuse std::io;\n\nuse crate::{\n    \
                 backend::{pool::Pool, Key},\n    clock::Now, config::Limits, h1::body, \
                 net::Sock, observe, proxy::tunnel,\n};\nuse super::client;\n",
        want: None,
    },
    Case {
        name: "upwards",
        file: "h1/scan.rs",
        source: "//!\nuse crate::proxy::client;\n",
        want: Some(":2: h1 may not use proxy"),
    },
    Case {
        name: "upwards in a group",
        file: "h1/scan.rs",
        source: "//!\nuse crate::{\n    config::Limits,\n    server::{self, slots},\n};\n",
        want: Some("h1 may not use server"),
    },
    Case {
        name: "upwards in an expression",
        file: "net.rs",
        source: "//!\nfn f() { let x = crate::proxy::f(); }\n",
        want: Some(":2: net may not use proxy"),
    },
    Case {
        name: "sideways",
        file: "backend/pool.rs",
        source: "//!\nuse crate::net::tcp;\n",
        want: Some("backend may not use net"),
    },
    Case {
        name: "upwards through super",
        file: "net/tcp.rs",
        source: "//!\nuse super::super::server;\n",
        want: Some("net may not use server"),
    },
    Case {
        name: "super in a file at the top is the crate",
        file: "h1.rs",
        source: "//!\nuse super::net;\n",
        want: Some("h1 may not use net"),
    },
    Case {
        name: "super inside a module is the module",
        file: "h1/body.rs",
        source: "//!\nuse super::{chunked, server};\n",
        want: None,
    },
    Case {
        name: "a leaf uses nobody",
        file: "key.rs",
        source: "//!\nuse crate::config;\n",
        want: Some("key may not use config"),
    },
    Case {
        name: "what stands beside uses what the plan gives it",
        file: "cli.rs",
        source: "//!\nuse crate::{config::x, net::y};\n",
        want: Some("cli may not use net"),
    },
    Case {
        name: "nobody but main uses the options",
        file: "server/drain.rs",
        source: "//!\nuse crate::cli;\n",
        want: Some("server may not use cli"),
    },
    Case {
        name: "a module that is not on the plan",
        file: "server/drain.rs",
        source: "//!\nuse crate::helpers;\n",
        want: Some("server may not use helpers"),
    },
    Case {
        name: "main uses everything but the seams of others",
        file: "main.rs",
        source: "//!\nuse roundel::{cli, server};\nfn main() { lexopt::Parser::from_env(); }\n",
        want: Some("lexopt is for cli only"),
    },
    Case {
        name: "a dependency past its seam, imported",
        file: "server/event_loop.rs",
        source: "//!\nuse mio::Poll;\nuse rustls::ClientConnection;\n",
        want: Some(":3: rustls is for net/tls.rs only"),
    },
    Case {
        name: "a dependency past its seam, in a path",
        file: "proxy/upstream.rs",
        source: "//!\nfn f(x: &mio::Token) {}\n",
        want: Some("mio is for net, server only"),
    },
    Case {
        name: "a dependency past its seam, with leading colons, renamed",
        file: "server/timers.rs",
        source: "//!\nuse ::slab as s;\n",
        want: Some("slab is for server/slots.rs only"),
    },
    Case {
        name: "an inner crate past its seam",
        file: "net/tcp.rs",
        source: "//!\nuse something::pki_types::ServerName;\n",
        want: Some("pki_types is for net/tls.rs only"),
    },
    Case {
        name: "a word that is no dependency",
        file: "proxy/client.rs",
        source: "//!\nfn f(slab: u8, log: u8) { self.mio.x(slab); x::mio::y(); log::trace!() }\n",
        want: None,
    },
    Case {
        name: "a part of a seam's folder",
        file: "net/tls/session.rs",
        source: "//!\nuse rustls::ClientConnection;\n",
        want: None,
    },
    Case {
        name: "h1 does not log",
        file: "h1/reply.rs",
        source: "//!\nfn f() { log::info!(\"x\"); }\n",
        want: Some("h1 does not log"),
    },
    Case {
        name: "unsafe",
        file: "net/tcp.rs",
        source: "//!\nfn f() { unsafe { g() } }\n",
        want: Some("unsafe, which is for net/sys.rs only"),
    },
    Case {
        name: "unsafe in a test",
        file: "net/tcp.rs",
        source: "//!\n#[cfg(test)]\nmod tests { fn f() { unsafe { g() } } }\n",
        want: Some(":3: unsafe"),
    },
    Case {
        name: "unsafe in its place, and unsafe_code elsewhere",
        file: "net/sys.rs",
        source: "//!\n#![expect(unsafe_code, reason = \"x\")]\nfn f() { unsafe { g() } }\n",
        want: None,
    },
    Case {
        name: "no word about the module",
        file: "net/tcp.rs",
        source: "// A comment.\n",
        want: Some(":1: does not begin with //!"),
    },
    Case {
        name: "unwrap",
        file: "net/tcp.rs",
        source: "//!\nfn f() { g().unwrap(); }\n#[cfg(test)]\nmod tests { fn f() {} }\n",
        want: Some(":2: .unwrap() outside tests"),
    },
    Case {
        name: "unwrap after a test module",
        file: "net/tcp.rs",
        source: "//!\n#[cfg(test)]\nmod tests { fn f() { g().unwrap(); } }\nfn f() { g().unwrap(); }",
        want: Some(":4: .unwrap() outside tests"),
    },
    Case {
        name: "unwrap_or, and unwrap in tests, comments, strings and doc comments",
        file: "net/tcp.rs",
        source: "//!\n/// x.unwrap()\nfn f() { g().unwrap_or(0); h(\".unwrap()\", r#\"\".unwrap()\"#, \
                 '\"', b'\"', '\\'', \"\\\"\"); /* /* */ .unwrap() */ }\n// .unwrap()\n\
                 #[cfg(test)]\nmod tests { use crate::server; fn f<'a>() { g().unwrap(); } }\n",
        want: None,
    },
    Case {
        name: "what follows a lifetime is code",
        file: "net/tcp.rs",
        source: "//!\nfn f<'a>(x: &'a str) { x.unwrap(); }\n",
        want: Some(":2: .unwrap()"),
    },
    Case {
        name: "what is not done yet",
        file: "net/tcp.rs",
        source: "//!\nfn f() { todo!() }\n",
        want: Some("todo! outside tests"),
    },
    Case {
        name: "the clock",
        file: "server/timers.rs",
        source: "//!\nfn f() { std::time::Instant::now(); }\n",
        want: Some("Instant::now outside clock.rs"),
    },
    Case {
        name: "the clock in its place",
        file: "clock.rs",
        source: "//!\nfn f() { Instant::now(); SystemTime::now(); }\n",
        want: None,
    },
];

#[test]
fn the_checker_notices_violations() {
    for case in CASES {
        let findings = check(case.file, case.source);
        match case.want {
            None => assert_eq!(findings, Vec::<String>::new(), "{}", case.name),
            Some(want) => assert!(
                findings.len() == 1 && findings[0].contains(want),
                "{}: found {findings:?}, expected one with {want:?}",
                case.name
            ),
        }
    }
}

#[test]
fn the_checker_notices_names_from_elsewhere() {
    let machine = format!("cd /{}/main", "work");
    let registry = format!("see https://{}.io/crates/x", "crates");
    let other_index = "source = \"registry+https://mirror.example/index\"";
    for (file, text, count) in [
        ("README.md", machine.as_str(), 1),
        ("README.md", registry.as_str(), 1),
        ("README.md", "frame/work/er, ./home/x and https://www.rfc-editor.org/rfc/rfc9112", 0),
        ("Cargo.lock", &lock_source(), 0),
        ("README.md", &lock_source(), 1),
        ("Cargo.lock", other_index, 1),
    ] {
        assert_eq!(names_elsewhere(file, text).len(), count, "{file}: {text}");
    }
}
