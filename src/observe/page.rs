//! A snapshot as one HTML document, for people.
//!
//! Everything that can be seen is written here; the script in it only asks for the same document again
//! and takes over what changed, so without it the page says as much. Knows nothing of who asks.
//!
//! Invariants: nothing is fetched from anywhere else; [`POLICY`] allows the style and the script that
//! stand in the document, by their digests, and no other; every value goes through `Html::text`.
//!
//! In the folder: `html` escapes, `words` says numbers, `chart` draws, `digest` is SHA-256;
//! `page.html`, `page.css` and `page.js` are what they are called.

mod chart;
mod digest;
mod html;
mod words;

use std::fmt::Display;
use std::sync::LazyLock;

use super::metrics::{BackendMetrics, Trouble};
use super::snapshot::{BackendState, Readiness, Snapshot};
use crate::config::{Intake, Role, Setting, Verify};
use html::Html;
use words::{age, clock, count, latency};

/// What it is called in `Content-Type`.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// What a browser may do with the page, as `Content-Security-Policy` says it.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest::base64(&digest::sha256(SCRIPT.as_bytes())),
        digest::base64(&digest::sha256(STYLE.as_bytes())),
    )
});

/// The whole document.
#[must_use]
pub fn page(snapshot: &Snapshot<'_>) -> String {
    let mut out = Html::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + 32 * 1024);
    let mut rest = TEMPLATE;
    while let Some((before, mark)) = rest.split_once("{{") {
        let (name, after) = mark.split_once("}}").unwrap_or((mark, ""));
        out.markup(before);
        match name {
            "style" => _ = out.markup(STYLE),
            "script" => _ = out.markup(SCRIPT),
            "content" => content(&mut out, snapshot),
            other => _ = out.text(other),
        }
        rest = after;
    }
    out.markup(rest);
    out.into_text()
}

fn content(out: &mut Html, snapshot: &Snapshot<'_>) {
    heading(out, snapshot);
    warnings(out, snapshot);
    tiles(out, snapshot);
    out.markup("<section class=\"charts\" aria-label=\"The last minutes\">");
    let steps: Vec<_> = snapshot.metrics.history.steps().copied().collect();
    chart::rates(out, &steps);
    chart::latencies(out, &steps);
    out.markup("</section>");
    chart::numbers(out, &steps);
    backends(out, snapshot);
    troubles(out, snapshot);
    out.markup("<div class=\"pair\">");
    answers(out, snapshot);
    connections(out, snapshot);
    out.markup("</div>");
    settings(out, snapshot);
}

fn heading(out: &mut Html, snapshot: &Snapshot<'_>) {
    let (class, mark, word, meaning) = match snapshot.readiness {
        Readiness::Ready => ("good", "●", "Ready", "requests are welcome"),
        Readiness::Draining => ("warn", "◐", "Stopping", "open requests are finished, no new ones"),
        Readiness::NoBackend => ("bad", "▲", "No backend is in", "requests are tried and may fail"),
    };
    out.markup("<header><h1>roundel</h1><p class=\"state ").text(class);
    out.markup("\"><span class=\"mark\" aria-hidden=\"true\">").text(mark);
    out.markup("</span> <strong id=\"readiness\">").text(word);
    out.markup("</strong> <span>").text(meaning).markup("</span></p><p class=\"facts\">version ");
    out.text(env!("CARGO_PKG_VERSION")).markup(" · up ");
    out.text(age(snapshot.unix_ms.saturating_sub(snapshot.started_unix_ms)));
    if !snapshot.listeners.is_empty() {
        out.markup(" · listening on ").text(snapshot.listeners.join(", "));
    }
    out.markup(" · as of <time id=\"now\">").text(clock(snapshot.unix_ms));
    out.markup("</time></p></header>");
}

fn warnings(out: &mut Html, snapshot: &Snapshot<'_>) {
    for backend in snapshot.backends.iter().filter(|one| one.verify == Verify::Nothing) {
        out.markup(
            "<p class=\"alarm\" role=\"alert\"><strong>Insecure:</strong> the certificate of ",
        );
        out.markup("<b>")
            .text(backend.label)
            .markup("</b> is not checked. Anybody in between can ");
        out.markup("read and change what goes there.</p>");
    }
    if let Some((false, unix_ms)) = snapshot.reload {
        out.markup(
            "<p class=\"alarm\" role=\"alert\"><strong>Not reloaded:</strong> what was read ",
        );
        out.markup("at ")
            .text(clock(unix_ms))
            .markup(" is wrong; what was in force before is.</p>");
    }
    if snapshot.lost_lines > 0 {
        out.markup("<p class=\"alarm\" role=\"alert\"><strong>Access log:</strong> ");
        out.text(count(snapshot.lost_lines)).markup(" lines could not be written.</p>");
    }
}

/// The numbers that one looks for first.
fn tiles(out: &mut Html, snapshot: &Snapshot<'_>) {
    let metrics = snapshot.metrics;
    let last = metrics.history.steps().last().copied().unwrap_or_default();
    let total: u64 = metrics.statuses().iter().map(|(_, count)| count).sum();
    let own =
        metrics.overhead.sum().checked_div(u32::try_from(metrics.overhead.count()).unwrap_or(0));
    let clients = snapshot.clients;
    let open = clients.idle + clients.active + clients.tunnel + clients.closing;
    let (mut requests, mut failures) = (0, 0);
    for step in metrics.history.steps() {
        requests += u64::from(step.requests);
        failures += u64::from(step.failures);
    }
    out.markup("<dl class=\"tiles\">");
    for (id, name, value, besides) in [
        (
            "rate",
            "Requests a second",
            words::rate(last.requests),
            format!("{} in all", count(total)),
        ),
        (
            "failed",
            "Failed",
            words::percent(failures, requests),
            "of the last 5 minutes".to_owned(),
        ),
        ("p50", "Half are done in", latency(last.p50), "of the last 5 seconds".to_owned()),
        ("p99", "99 of 100 in", latency(last.p99), "of the last 5 seconds".to_owned()),
        ("own", "roundel's own part", latency(own), "on average, since the start".to_owned()),
        (
            "clients",
            "Clients",
            count(open as u64),
            format!("{} busy, {} wait", clients.active + clients.tunnel, snapshot.queued),
        ),
    ] {
        out.markup("<div><dt>").text(name).markup("</dt><dd id=\"").text(id).markup("\">");
        out.text(value).markup("</dd><dd class=\"besides\">").text(besides).markup("</dd></div>");
    }
    out.markup("</dl>");
}

fn backends(out: &mut Html, snapshot: &Snapshot<'_>) {
    out.markup("<section><h2>Backends</h2><table class=\"cards\" id=\"backends\"><thead><tr>");
    for name in ["Backend", "State", "Connections", "Waiting", "Responses", "Failed tries"] {
        out.markup("<th scope=\"col\">").text(name).markup("</th>");
    }
    out.markup("</tr></thead><tbody>");
    for (state, metrics) in snapshot.counted() {
        backend(out, state, metrics, snapshot.unix_ms);
    }
    out.markup("</tbody></table></section>");
}

fn backend(out: &mut Html, state: &BackendState<'_>, metrics: &BackendMetrics, unix_ms: u64) {
    let (class, mark) = match (state.is_in, state.intake, state.health) {
        (true, ..) => ("good", "●"),
        (false, Intake::Drained, _) => ("quiet", "○"),
        (false, Intake::Open, "on trial") => ("warn", "◐"),
        (false, Intake::Open, _) => ("bad", "▲"),
    };
    out.markup("<tr><th scope=\"row\">").text(state.label);
    if state.role == Role::Backup {
        out.markup(" <span class=\"tag\">backup</span>");
    }
    if state.verify == Verify::Nothing {
        out.markup(" <span class=\"tag loud\">insecure</span>");
    }
    out.markup("</th><td data-name=\"State\"><span class=\"word ").text(class);
    out.markup("\"><span class=\"mark\" aria-hidden=\"true\">").text(mark).markup("</span> ");
    out.text(state.health).markup("</span> <span class=\"besides\">");
    match state.since_unix_ms {
        Some(since) => _ = out.markup("for ").text(age(unix_ms.saturating_sub(since))),
        None => _ = out.markup("since the start"),
    }
    out.markup("</span></td><td data-name=\"Connections\">").text(state.busy).markup(" busy, ");
    out.text(state.idle).markup(" idle");
    if state.connecting > 0 {
        out.markup(", ").text(state.connecting).markup(" connecting");
    }
    out.markup("</td><td data-name=\"Waiting\">").text(count(state.waiting as u64));
    out.markup("</td><td data-name=\"Responses\">");
    tally(out, &metrics.codes.sorted());
    out.markup("</td><td data-name=\"Failed tries\">");
    let errors = metrics.errors.iter().map(|(reason, times)| (reason.word(), times));
    tally(out, &errors.collect::<Vec<_>>());
    out.markup("</td></tr>");
}

/// How often there was which.
fn tally(out: &mut Html, counts: &[(impl Display, u64)]) {
    for (place, (which, times)) in counts.iter().enumerate() {
        out.markup(if place > 0 { "<br>" } else { "" });
        out.text(count(*times)).markup(" <code>").text(which).markup("</code>");
    }
    out.markup(if counts.is_empty() { "none" } else { "" });
}

/// Troubles that differ in nothing but their time.
struct Alike<'a> {
    /// The last of them.
    newest: &'a Trouble,
    count: u64,
}

/// Those that came last first.
fn alike<'a>(troubles: impl Iterator<Item = &'a Trouble>) -> Vec<Alike<'a>> {
    let mut groups: Vec<Alike<'a>> = Vec::new();
    let key = |one: &'a Trouble| (one.reason, one.backend, one.status, &one.request);
    let mut newest_first: Vec<&Trouble> = troubles.collect();
    newest_first.reverse();
    for trouble in newest_first {
        match groups.iter_mut().find(|group| key(group.newest) == key(trouble)) {
            Some(group) => group.count += 1,
            None => groups.push(Alike { newest: trouble, count: 1 }),
        }
    }
    groups
}

fn troubles(out: &mut Html, snapshot: &Snapshot<'_>) {
    out.markup("<section><h2>Last errors</h2>");
    let groups = alike(snapshot.metrics.troubles());
    if groups.is_empty() {
        out.markup("<p class=\"nothing\">None since the start.</p></section>");
        return;
    }
    out.markup("<ol class=\"troubles\" id=\"troubles\">");
    groups.iter().for_each(|group| trouble(out, group, snapshot));
    out.markup("</ol></section>");
}

fn trouble(out: &mut Html, group: &Alike<'_>, snapshot: &Snapshot<'_>) {
    let Alike { newest, count: times } = *group;
    out.markup("<li><p><code class=\"reason\">").text(newest.reason.word()).markup("</code> ");
    out.text(newest.reason.sentence()).markup("</p><p class=\"besides\">");
    if times > 1 {
        out.markup("<b>").text(times).markup(" times</b>, last ");
    }
    out.markup("<time>").text(clock(newest.unix_ms)).markup("</time> · ");
    match newest.status {
        Some(status) => _ = out.markup("answered ").text(status),
        None => _ = out.markup("no answer"),
    }
    if let Some(backend) = newest.backend.and_then(|number| snapshot.backend(number)) {
        out.markup(" · ").text(backend.label);
    }
    if !newest.request.is_empty() {
        out.markup(" · <code><bdi>").octets(&newest.request).markup("</bdi></code>");
    }
    out.markup("</p></li>");
}

fn answers(out: &mut Html, snapshot: &Snapshot<'_>) {
    out.markup(
        "<section><h2>Answers</h2><table id=\"answers\"><thead><tr><th scope=\"col\">Status",
    );
    out.markup("</th><th scope=\"col\" class=\"number\">Requests</th></tr></thead><tbody>");
    for (status, times) in snapshot.metrics.statuses() {
        out.markup("<tr><th scope=\"row\">");
        match status {
            Some(status) => _ = out.text(status),
            None => _ = out.markup("none: broken off"),
        }
        out.markup("</th><td class=\"number\">").text(count(times)).markup("</td></tr>");
    }
    out.markup("</tbody></table></section>");
}

fn connections(out: &mut Html, snapshot: &Snapshot<'_>) {
    let (clients, metrics) = (snapshot.clients, snapshot.metrics);
    out.markup("<section><h2>Connections</h2><table id=\"connections\"><tbody>");
    for (name, value) in [
        ("clients between requests", count(clients.idle as u64)),
        ("clients with an open request", count(clients.active as u64)),
        ("tunnels", count(clients.tunnel as u64)),
        ("clients that are closed", count(clients.closing as u64)),
        ("requests that wait for room", count(snapshot.queued as u64)),
        ("requests over a connection that had served", count(metrics.reused)),
        ("requests over a new one", count(metrics.fresh)),
        ("octets of bodies from clients", count(metrics.bytes_in)),
        ("octets of bodies to clients", count(metrics.bytes_out)),
    ] {
        out.markup("<tr><th scope=\"row\">").text(name).markup("</th><td class=\"number\">");
        out.text(value).markup("</td></tr>");
    }
    out.markup("</tbody></table></section>");
}

fn settings(out: &mut Html, snapshot: &Snapshot<'_>) {
    let (same, other): (Vec<&Setting>, Vec<&Setting>) =
        snapshot.settings.iter().partition(|setting| setting.is_default());
    out.markup("<section><h2>Configuration in force</h2>");
    if other.is_empty() {
        out.markup("<p class=\"nothing\">All options have their defaults.</p>");
    } else {
        out.markup("<table id=\"settings\"><tbody>");
        other.iter().for_each(|one| setting(out, one));
        out.markup("</tbody></table>");
    }
    out.markup("<details><summary>Defaults: ").text(same.len()).markup(" options</summary>");
    out.markup("<table><tbody>");
    same.iter().for_each(|one| setting(out, one));
    out.markup("</tbody></table></details></section>");
}

fn setting(out: &mut Html, setting: &Setting) {
    out.markup("<tr><th scope=\"row\"><code>").text(setting.name).markup("</code></th><td>");
    out.text(&setting.value);
    if let Some(default) = setting.default.as_ref().filter(|_| !setting.is_default()) {
        out.markup(" <span class=\"besides\">not ").text(default).markup("</span>");
    }
    out.markup("</td></tr>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::reply::Reason;
    use crate::observe::metrics::Metrics;
    use crate::observe::snapshot::ClientCounts;

    #[test]
    fn troubles_that_are_alike_are_told_together() {
        let trouble = |unix_ms, request: &str| {
            let request = request.as_bytes().to_vec();
            Trouble { unix_ms, reason: Reason::BadHost, backend: None, status: None, request }
        };
        let troubles = [trouble(1, "a"), trouble(2, "b"), trouble(3, "a")];
        let groups = alike(troubles.iter());
        let told: Vec<_> = groups.iter().map(|one| (one.newest.unix_ms, one.count)).collect();
        assert_eq!(told, [(3, 2), (2, 1)]);
    }

    #[test]
    fn the_policy_names_what_stands_in_the_page() {
        let now = crate::clock::now();
        let page = page(&Snapshot {
            unix_ms: now.unix_ms,
            started_unix_ms: now.unix_ms,
            readiness: Readiness::NoBackend,
            metrics: &Metrics::new(0, now.instant),
            backends: &[],
            clients: ClientCounts::default(),
            queued: 0,
            lost_lines: 0,
            listeners: &[],
            settings: &[],
            reload: None,
        });
        for element in ["style", "script"] {
            let (_, rest) = page.split_once(&format!("<{element}>")).expect(element);
            let (inside, _) = rest.split_once(&format!("</{element}>")).expect(element);
            let digest = digest::base64(&digest::sha256(inside.as_bytes()));
            assert!(POLICY.contains(&format!("{element}-src 'sha256-{digest}';")), "{element}");
        }
    }

    #[test]
    fn style_and_script_end_where_they_should() {
        // Either would end its element, and then be another text than the one with the digest.
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</") && !text.contains("<!--"), "{text}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn the_template_has_a_place_for_each_part() {
        for name in ["{{style}}", "{{script}}", "{{content}}"] {
            assert_eq!(TEMPLATE.matches(name).count(), 1, "{name}");
        }
        assert_eq!(TEMPLATE.matches("{{").count(), 3);
    }
}
