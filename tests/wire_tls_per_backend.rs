//! TLS of one backend alone: whom it is trusted through, who roundel says it is, and what comes of it
//! where nothing is checked.
#![cfg(feature = "tls")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: a panic is how it reports"
)]

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::{fs, path::PathBuf};

use self::{
    support::{Message, Roundel, ok, row, run},
    tls::{
        Authority, BOTH_VERSIONS, TlsBackend, TlsWire, Validity, demanding_config, self_signed,
        server_config,
    },
};

/// A configuration file that goes when it is dropped.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("{name}-{}.toml", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).expect("a file can be written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        // What is left behind is in the build's own folder.
        let _ = fs::remove_file(&self.0);
    }
}

fn answer(name: &'static str) -> impl Fn(&mut TlsWire, Message) + Send + Sync + 'static {
    move |wire, _| {
        // Whether roundel still wants the answer is the test's business.
        let _ = wire.try_send(ok(name));
    }
}

/// The statuses of so many requests, each on a connection of its own.
fn statuses(roundel: &Roundel, count: usize) -> Vec<u16> {
    (0..count).map(|_| roundel.get("/").status()).collect()
}

/// Each is trusted through its own authority and through no other, `--ca` or not.
#[test]
fn each_backend_has_those_who_vouch_for_it() {
    let authorities = [Authority::new(), Authority::new(), Authority::new()];
    let backends = authorities.each_ref().map(|authority| {
        let identity = authority.issue(&["localhost"], Validity::Now);
        TlsBackend::serve(server_config(&identity, BOTH_VERSIONS), answer("hi"))
    });
    let [one, two, three] = backends.each_ref().map(TlsBackend::url);
    let [first, second, third] = authorities.each_ref().map(Authority::file);
    for (name, cas, want) in [
        ("its own", ["", "2", "3"], [200, 200, 200]),
        ("that of all", ["", "", "3"], [200, 502, 200]),
        ("another one", ["3", "2", "1"], [502, 200, 502]),
    ] {
        let _row = row(name);
        let ca = |which: &str| match which {
            "1" => format!("ca = \"{first}\"\n"),
            "2" => format!("ca = \"{second}\"\n"),
            "3" => format!("ca = \"{third}\"\n"),
            _ => String::new(),
        };
        for (url, (which, status)) in
            [&one, &two, &three].into_iter().zip(cas.into_iter().zip(want))
        {
            let text = format!("ca = \"{first}\"\n[[backend]]\nurl = \"{url}\"\n{}", ca(which));
            let file = ConfigFile::new("own-ca", &text);
            assert_eq!(statuses(&Roundel::start(&["-c", file.path()]), 1), [status], "{text}");
        }
        let all =
            |(url, which): (&String, &str)| format!("[[backend]]\nurl = \"{url}\"\n{}", ca(which));
        let tables: String = [&one, &two, &three].into_iter().zip(cas).map(all).collect();
        let file = ConfigFile::new("all-cas", &format!("ca = \"{first}\"\n{tables}"));
        let roundel = Roundel::start(&["-c", file.path()]);
        // Whoever is not trusted is passed over.
        assert_eq!(statuses(&roundel, 3), [200; 3]);
    }
}

#[test]
fn a_backend_that_asks_is_shown_the_certificate() {
    let (authority, of_clients) = (Authority::new(), Authority::new());
    let identity = authority.issue(&["localhost"], Validity::Now);
    let backend = TlsBackend::serve(demanding_config(&identity, &of_clients), answer("hi"));
    let stranger = authority.issue(&["client"], Validity::Now);
    let ours = of_clients.issue(&["client"], Validity::Now);
    let (ours, stranger) = (ours.files(), stranger.files());
    for (name, files, want) in
        [("none", None, 502), ("ours", Some(&ours), 200), ("a stranger's", Some(&stranger), 502)]
    {
        let _row = row(name);
        let identity = files.map_or_else(String::new, |[cert, key]| {
            format!("cert = \"{}\"\nkey = \"{}\"\n", cert.path(), key.path())
        });
        let text = format!(
            "ca = \"{}\"\n[[backend]]\nurl = \"{}\"\n{identity}",
            authority.file(),
            backend.url()
        );
        let file = ConfigFile::new("identity", &text);
        let roundel = Roundel::start(&["-c", file.path(), "--log", "debug"]);
        assert_eq!(statuses(&roundel, 2), [want; 2]);
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_at_the_start() {
    let authority = Authority::new();
    let (one, other) =
        (authority.issue(&["a"], Validity::Now), authority.issue(&["b"], Validity::Now));
    let ([cert, _], [_, key]) = (one.files(), other.files());
    let text = format!(
        "[[backend]]\nurl = \"https://localhost:1\"\ncert = \"{}\"\nkey = \"{}\"\n",
        cert.path(),
        key.path()
    );
    let file = ConfigFile::new("another-key", &text);
    for last in [["-l", "127.0.0.1:0"], ["--check", "--log=info"]] {
        let outcome = run(&["-c", file.path(), last[0], last[1]]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        let want = "roundel: backend localhost:1: the file of its key is of no use: it is not the key \
                    of the certificate\n";
        assert_eq!(outcome.stderr, want);
    }
}

/// Nothing is checked there, and only there, and each start says so.
#[test]
fn an_insecure_backend_is_used_with_a_warning() {
    let (identity, _file) = self_signed(&["nobody.example"]);
    let expired = Authority::new().issue(&["localhost"], Validity::Expired);
    let wrong_name = TlsBackend::serve(server_config(&identity, BOTH_VERSIONS), answer("a"));
    let old = TlsBackend::serve(server_config(&expired, BOTH_VERSIONS), answer("b"));
    for backend in [&wrong_name, &old] {
        let insecure = Roundel::start(&[&format!("{},insecure", backend.url())]);
        let warning = insecure.wait_for_stderr("is insecure");
        assert!(warning.starts_with("WARN") && warning.contains(&backend.authority()), "{warning}");
        assert_eq!(statuses(&insecure, 2), [200; 2]);
        let secure = Roundel::start(&[&backend.url()]);
        assert_eq!(statuses(&secure, 1), [502]);
        assert!(secure.stderr().iter().all(|line| !line.contains("insecure")));
    }
    let mixed = Roundel::start(&[&format!("{},insecure", old.url()), &wrong_name.url()]);
    let bodies: String = (0..4).map(|_| mixed.get("/").text()).collect();
    assert_eq!(bodies, "bbbb", "the other is still checked");
}
