//! What is made of the table of options and kept in `docs`: it has to be what the table gives, and
//! of use to those who read it.
#![allow(clippy::expect_used, clippy::panic, reason = "a test: a panic is how it reports")]

mod support;

use std::{fs, path::PathBuf, process::Command};

use support::run;

const KEPT: &[(&str, &str)] = &[
    ("man", "docs/roundel.1"),
    ("bash", "docs/completions/roundel.bash"),
    ("zsh", "docs/completions/_roundel"),
    ("fish", "docs/completions/roundel.fish"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_kept_is_what_the_table_gives() {
    for (what, file) in KEPT {
        let made = run(&["--generate", what]);
        assert_eq!((made.code, made.stderr.as_str()), (Some(0), ""), "{what}");
        let kept = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(
            kept == made.stdout,
            "{file} is not what the table of options gives. To make it anew:\n    \
             cargo run --quiet -- --generate {what} >{file}"
        );
    }
}

#[test]
fn what_cannot_be_made_is_told() {
    let outcome = run(&["--generate", "powershell"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    assert_eq!(
        outcome.stderr,
        "roundel: option --generate \"powershell\": what can be made is one of man, bash, zsh, fish\n"
    );
}

/// What a real bash proposes for the last of these words.
fn proposals(words: &[&str]) -> Option<String> {
    let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _roundel; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let file = root().join("docs/completions/roundel.bash");
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script, "bash"]).arg(file).arg("roundel").args(words);
    let output = command.current_dir(root()).output().ok()?;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.lines().collect::<Vec<_>>().join(" "))
}

#[test]
fn bash_completes() {
    for (words, want) in [
        (&["doc"][..], "doctor"),
        (&["--pool"], "--pool-timeout"),
        (&["doctor", "--max-conns-"], "--max-conns-per-backend"),
        (&["--log", "de"], "debug"),
        (&["--log", "=", "de"], "debug"),
        (&["--log", "="], "off error warn info debug trace"),
        (&["--generate", "b"], "bash"),
        (&["-c", "Cargo.t"], "Cargo.toml"),
        (&["--timeout", ""], ""),
        (&["http://127.0.0.1:3001", "doc"], ""),
    ] {
        // Where there is no bash, nobody completes in one.
        let Some(got) = proposals(words) else { return };
        assert_eq!(got, want, "{words:?}");
    }
}
