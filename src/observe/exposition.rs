//! A snapshot in the text format of Prometheus (version 0.0.4).
//!
//! Knows nothing of who asks. Each metric has its help, its type, and a name with its unit.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::histogram::Histogram;
use super::snapshot::{BackendState, Readiness, Snapshot};

/// What the format is called in `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a snapshot.
#[must_use]
pub fn exposition(snapshot: &Snapshot<'_>) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    process(&mut page, snapshot);
    requests(&mut page, snapshot);
    backends(&mut page, snapshot);
    connections(&mut page, snapshot);
    page.0
}

/// The text so far.
struct Page(String);

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.begin(name, kind, help);
        self.value(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound_us, count) in histogram.cumulative() {
            let bound = seconds(Duration::from_micros(bound_us));
            self.value(&bucket, &[("le", &bound)], count);
        }
        self.value(&bucket, &[("le", "+Inf")], histogram.count());
        self.value(&format!("{name}_sum"), &[], seconds(histogram.sum()));
        self.value(&format!("{name}_count"), &[], histogram.count());
    }
}

/// Seconds as a decimal number, without an end of zeros.
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn process(page: &mut Page, snapshot: &Snapshot<'_>) {
    page.begin("roundel_build_info", "gauge", "The version that runs.");
    page.value("roundel_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let started = seconds(Duration::from_millis(snapshot.started_unix_ms));
    page.single(
        "roundel_start_time_seconds",
        "gauge",
        "When the process began, in seconds since 1970.",
        started,
    );
    page.single(
        "roundel_ready",
        "gauge",
        "Whether requests should be sent here.",
        u8::from(snapshot.readiness == Readiness::Ready),
    );
    page.single(
        "roundel_config_last_reload_successful",
        "gauge",
        "Whether the configuration that was read last is in force.",
        u8::from(snapshot.reload.is_none_or(|(succeeded, _)| succeeded)),
    );
    let reloaded = snapshot.reload.map_or(snapshot.started_unix_ms, |(_, unix_ms)| unix_ms);
    page.single(
        "roundel_config_last_reload_timestamp_seconds",
        "gauge",
        "When the configuration was read last, in seconds since 1970.",
        seconds(Duration::from_millis(reloaded)),
    );
    page.single(
        "roundel_access_log_lost_lines_total",
        "counter",
        "Lines of the access log that could not be written.",
        snapshot.lost_lines,
    );
}

fn requests(page: &mut Page, snapshot: &Snapshot<'_>) {
    let metrics = snapshot.metrics;
    let name = "roundel_http_requests_total";
    page.begin(name, "counter", "Exchanges that ended, by status (none without an answer).");
    for (status, method, count) in metrics.requests() {
        let code = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        page.value(name, &[("code", &code), ("method", method)], count);
    }
    page.histogram(
        "roundel_http_request_duration_seconds",
        "From the request to the end of its response.",
        &metrics.duration,
    );
    page.histogram(
        "roundel_proxy_overhead_seconds",
        "How much of that was this process's own doing.",
        &metrics.overhead,
    );
    let name = "roundel_retries_total";
    page.begin(name, "counter", "Tries beyond the first, by what was wrong with the one before.");
    for (reason, count) in metrics.retries.iter() {
        page.value(name, &[("reason", reason.word())], count);
    }
    let name = "roundel_body_bytes_total";
    page.begin(name, "counter", "Octets of bodies: in from clients, out to clients.");
    page.value(name, &[("direction", "in")], metrics.bytes_in);
    page.value(name, &[("direction", "out")], metrics.bytes_out);
}

fn backends(page: &mut Page, snapshot: &Snapshot<'_>) {
    let labels = labels(snapshot.backends);
    let label = |number: usize| labels.get(&number).map(String::as_str).unwrap_or_default();
    let name = "roundel_backend_up";
    page.begin(name, "gauge", "Whether the backend is given requests.");
    for backend in snapshot.backends {
        page.value(name, &[("backend", label(backend.number))], u8::from(backend.is_in));
    }
    let name = "roundel_backend_requests_total";
    page.begin(name, "counter", "Final responses of the backend, by status.");
    for (backend, metrics) in snapshot.counted() {
        for (code, count) in metrics.codes.iter() {
            let code = code.to_string();
            page.value(name, &[("backend", label(backend.number)), ("code", &code)], count);
        }
    }
    let name = "roundel_backend_errors_total";
    page.begin(name, "counter", "Tries with the backend that failed, by reason.");
    for (backend, metrics) in snapshot.counted() {
        for (reason, count) in metrics.errors.iter() {
            let labels = [("backend", label(backend.number)), ("reason", reason.word())];
            page.value(name, &labels, count);
        }
    }
    let name = "roundel_backend_connections";
    page.begin(name, "gauge", "Connections to the backend, by what they do.");
    for backend in snapshot.backends {
        let states =
            [("busy", backend.busy), ("idle", backend.idle), ("connecting", backend.connecting)];
        for (state, count) in states {
            page.value(name, &[("backend", label(backend.number)), ("state", state)], count);
        }
    }
}

/// A label for the number of each backend. Two may be at one address, with other prefixes, say; Prometheus
/// takes nothing at all of a page on which two values have the same labels.
fn labels(backends: &[BackendState<'_>]) -> BTreeMap<usize, String> {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let label = |backend: &BackendState<'_>, times: u32| match times {
        1 => backend.label.to_owned(),
        times => format!("{}#{times}", backend.label),
    };
    let numbered = backends.iter().map(|backend| {
        let times = seen.entry(backend.label).or_default();
        *times += 1;
        (backend.number, label(backend, *times))
    });
    numbered.collect()
}

fn connections(page: &mut Page, snapshot: &Snapshot<'_>) {
    let name = "roundel_connections";
    page.begin(name, "gauge", "Connections, by side and by what they do.");
    let clients = snapshot.clients;
    let states = [
        ("idle", clients.idle),
        ("active", clients.active),
        ("tunnel", clients.tunnel),
        ("closing", clients.closing),
    ];
    for (state, count) in states {
        page.value(name, &[("side", "client"), ("state", state)], count);
    }
    let backends = snapshot.backends;
    let states = [
        ("busy", backends.iter().map(|backend| backend.busy).sum::<usize>()),
        ("idle", backends.iter().map(|backend| backend.idle).sum()),
        ("connecting", backends.iter().map(|backend| backend.connecting).sum()),
    ];
    for (state, count) in states {
        page.value(name, &[("side", "backend"), ("state", state)], count);
    }
    page.single(
        "roundel_queued_requests",
        "gauge",
        "Requests for which no backend has room.",
        snapshot.queued,
    );
    page.single(
        "roundel_pool_reused_total",
        "counter",
        "Requests that went over a connection that had served before.",
        snapshot.metrics.reused,
    );
    page.single(
        "roundel_pool_fresh_total",
        "counter",
        "Requests that were the first on their connection.",
        snapshot.metrics.fresh,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_labels_are_written_as_the_format_wants() {
        for (ms, want) in [(0, "0"), (1500, "1.5"), (10, "0.01"), (30_000, "30")] {
            assert_eq!(seconds(Duration::from_millis(ms)), want);
        }
        let mut page = Page(String::new());
        page.value("a", &[("l", "x\\y\"z\n"), ("m", "")], 3);
        assert_eq!(page.0, "a{l=\"x\\\\y\\\"z\\n\",m=\"\"} 3\n");
    }
}
