//! What is made of the table of options for others to read: the man page (`man.rs`), and
//! completions for shells.
//!
//! Knows nothing of files: the texts go to the standard output. Invariant: a text depends on the
//! table and the version alone, so that one that was kept can be compared with it
//! (`tests/generated.rs` does).

mod man;

use std::fmt::Write;

use super::DOCTOR;
use super::options::{FORMATS, LEVELS, OPTIONS, Opt, POLICIES, Set};
use crate::config::nearest::suggestion;

/// Something that can be made.
struct Product {
    name: &'static str,
    make: fn() -> String,
}

const PRODUCTS: [Product; 4] = [
    Product { name: "man", make: man::page },
    Product { name: "bash", make: bash },
    Product { name: "zsh", make: zsh },
    Product { name: "fish", make: fish },
];

/// What the command `doctor` does, in one line.
const DOCTOR_HELP: &str = "look whether traffic would get through, and say what to do about it";

/// Makes what is asked for by this name.
pub(super) fn generate(name: &str) -> Result<String, String> {
    if let Some(product) = PRODUCTS.iter().find(|product| product.name == name) {
        return Ok((product.make)());
    }
    let names = PRODUCTS.map(|product| product.name);
    Err(format!("what can be made is one of {}{}", names.join(", "), suggestion(name, names)))
}

/// What can stand for the value of an option.
enum Fill {
    /// The name of a file.
    File,
    /// One of these words.
    Words(Vec<&'static str>),
    /// Something that nobody can guess.
    Free,
}

fn fill(value: &str) -> Fill {
    match value {
        "FILE" | "DEST" => Fill::File,
        "POLICY" => Fill::Words(POLICIES.to_vec()),
        "FORMAT" => Fill::Words(FORMATS.to_vec()),
        "LEVEL" => Fill::Words(LEVELS.to_vec()),
        "WHAT" => Fill::Words(PRODUCTS.iter().map(|product| product.name).collect()),
        _ => Fill::Free,
    }
}

/// How an option is written: `-l` where it has a short name, and `--listen`.
fn spellings(option: &Opt) -> Vec<String> {
    let short = option.short.map(|short| format!("-{short}"));
    short.into_iter().chain([format!("--{}", option.long)]).collect()
}

fn bash() -> String {
    let mut text = String::from(
        "# Completions of roundel for bash, as `roundel --generate bash` prints them.\n\
         _roundel() {\n    \
         local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n    \
         COMPREPLY=()\n    \
         # To bash, the = of --log=info is a word of its own.\n    \
         if [[ $word == '=' ]]; then\n        \
         word=\n    \
         elif [[ $before == '=' ]]; then\n        \
         before=${COMP_WORDS[COMP_CWORD-2]}\n    \
         fi\n    \
         case $before in\n",
    );
    let mut free = Vec::new();
    for (option, value) in OPTIONS.iter().filter_map(|option| Some((option, option.value?))) {
        let pattern = spellings(option).join(" | ");
        let make = match fill(value) {
            Fill::Free => {
                free.push(pattern);
                continue;
            }
            Fill::File => {
                "compopt -o filenames 2>/dev/null\n            local IFS=$'\\n'\n            \
                 COMPREPLY=($(compgen -f -- \"$word\"))"
                    .to_owned()
            }
            Fill::Words(words) => {
                format!("COMPREPLY=($(compgen -W '{}' -- \"$word\"))", words.join(" "))
            }
        };
        // Writing to a text does not fail, here and below.
        let _ = writeln!(
            text,
            "        {pattern})\n            {make}\n            return\n            ;;"
        );
    }
    let free = free.join(" | \\\n        ");
    let all: Vec<String> = OPTIONS.iter().flat_map(spellings).collect();
    let all = all.join("\n            ");
    let _ = write!(
        text,
        "        {free})\n            return\n            ;;\n    esac\n    \
         if [[ $word == -* ]]; then\n        \
         COMPREPLY=($(compgen -W '\n            {all}' -- \"$word\"))\n    \
         elif ((COMP_CWORD == 1)); then\n        \
         COMPREPLY=($(compgen -W '{DOCTOR}' -- \"$word\"))\n    \
         fi\n}}\ncomplete -F _roundel roundel\n"
    );
    text
}

fn zsh() -> String {
    let mut text = String::from(
        "#compdef roundel\n\
         # Completions of roundel for zsh, as `roundel --generate zsh` prints them.\n\n\
         _arguments -s -S \\\n",
    );
    for option in OPTIONS {
        let help = zsh_text(option.help);
        let (short_end, long_end, value) = match option.value {
            None => ("", "", String::new()),
            Some(value) => {
                let action = match fill(value) {
                    Fill::File => "_files".to_owned(),
                    Fill::Words(words) => format!("({})", words.join(" ")),
                    Fill::Free => " ".to_owned(),
                };
                ("+", "=", format!(":{value}:{action}"))
            }
        };
        let long = option.long;
        let is_repeatable = matches!(option.set, Set::Many { .. });
        let names = match option.short {
            None => format!("--{long}{long_end}"),
            Some(short) => format!("'{{-{short}{short_end},--{long}{long_end}}}'"),
        };
        let front = match (is_repeatable, option.short) {
            (true, _) => "*".to_owned(),
            (false, Some(short)) => format!("(-{short} --{long})"),
            (false, None) => String::new(),
        };
        let _ = writeln!(text, "    '{front}{names}[{help}]{value}' \\");
    }
    let _ = writeln!(text, "    '1:backend or command:({DOCTOR})' \\\n    '*:backend: '");
    text
}

/// As it stands inside the brackets of a description in single quotes.
fn zsh_text(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "'\\''");
    ['[', ']', ':'].iter().fold(escaped, |text, c| text.replace(*c, &format!("\\{c}")))
}

fn fish() -> String {
    let mut text = format!(
        "# Completions of roundel for fish, as `roundel --generate fish` prints them.\n\
         complete -c roundel -f\n\
         complete -c roundel -n __fish_use_subcommand -a {DOCTOR} -d '{}'\n",
        fish_text(DOCTOR_HELP)
    );
    for option in OPTIONS {
        let short = option.short.map_or_else(String::new, |short| format!(" -s {short}"));
        let value = match option.value.map(fill) {
            None => String::new(),
            Some(Fill::File) => " -r -F".to_owned(),
            Some(Fill::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
            Some(Fill::Free) => " -x".to_owned(),
        };
        let (long, help) = (option.long, fish_text(option.help));
        let _ = writeln!(text, "complete -c roundel{short} -l {long}{value} -d '{help}'");
    }
    text
}

/// As it stands in single quotes.
fn fish_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::super::options::{Draft, Errand};
    use super::*;

    /// Words that are proposed are taken.
    #[test]
    fn words_that_are_proposed_are_right() {
        for option in OPTIONS {
            let Some(Fill::Words(words)) = option.value.map(fill) else { continue };
            for word in words {
                let (mut draft, mut errand) = (Draft::default(), Errand::default());
                let outcome = match option.set {
                    Set::Once(set) | Set::Many { add: set, .. } => set(&mut draft, word),
                    Set::Line(set) => set(&mut errand, word),
                };
                assert_eq!(outcome, Ok(()), "--{} {word}", option.long);
            }
        }
    }

    #[test]
    fn every_product_names_every_option() {
        for product in &PRODUCTS {
            // Each in its own way: with two hyphens, escaped, or behind `-l`.
            let text = (product.make)().replace('\\', "").replace(" -l ", " --");
            for option in OPTIONS {
                let name = format!("--{}", option.long);
                assert!(text.contains(&name), "{name} for {}", product.name);
            }
            assert!(text.ends_with('\n'), "{}", product.name);
        }
    }

    #[test]
    fn texts_do_not_leave_their_quotes() {
        assert_eq!(zsh_text("it's [a]: b\\"), "it'\\''s \\[a\\]\\: b\\\\");
        assert_eq!(fish_text("it's \\"), "it\\'s \\\\");
    }

    #[test]
    fn what_cannot_be_made_is_told_with_what_can() {
        assert_eq!(
            generate("bsh"),
            Err("what can be made is one of man, bash, zsh, fish: did you mean bash?".to_owned())
        );
    }
}
