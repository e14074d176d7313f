//! A snapshot as JSON, for programs that want to know more than numbers.
//!
//! Knows nothing of who asks. Invariant: each member is there always; what is not known is null, and
//! lists are in order of time, oldest first.

use super::history::{STEP, Step};
use super::json::Json;
use super::metrics::{BackendMetrics, Tally, Trouble};
use super::snapshot::{BackendState, Snapshot};
use crate::config::{Intake, Role, Setting, Verify};
use crate::h1::reply::Reason;

/// What it is called in `Content-Type`.
pub const CONTENT_TYPE: &str = "application/json";

/// Everything that the snapshot says, as one object.
#[must_use]
pub fn status(snapshot: &Snapshot<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * 1024);
    let mut json = Json::new(&mut out);
    json.object(|json| {
        process(json, snapshot);
        json.member("backends").array(|json| {
            for (state, metrics) in snapshot.counted() {
                backend(json, state, metrics);
            }
        });
        traffic(json, snapshot);
        json.member("troubles").array(|json| {
            snapshot.metrics.troubles().for_each(|one| trouble(json, one, snapshot));
        });
        json.member("settings").array(|json| {
            snapshot.settings.iter().for_each(|one| setting(json, one));
        });
    });
    out.push(b'\n');
    out
}

fn process(json: &mut Json<'_>, snapshot: &Snapshot<'_>) {
    let uptime_ms = snapshot.unix_ms.saturating_sub(snapshot.started_unix_ms);
    json.member("version").text(env!("CARGO_PKG_VERSION"));
    json.member("time").time(snapshot.unix_ms);
    json.member("started").time(snapshot.started_unix_ms);
    json.member("uptime_seconds").number(uptime_ms / 1000);
    json.member("readiness").text(snapshot.readiness.word());
    json.member("listeners").array(|json| {
        snapshot.listeners.iter().for_each(|address| json.text(address));
    });
    json.member("reload").maybe(snapshot.reload, |json, (succeeded, unix_ms)| {
        json.object(|json| {
            json.member("succeeded").truth(succeeded);
            json.member("time").time(unix_ms);
        });
    });
    json.member("access_log_lost_lines").number(snapshot.lost_lines);
}

fn backend(json: &mut Json<'_>, state: &BackendState<'_>, metrics: &BackendMetrics) {
    json.object(|json| {
        json.member("backend").text(state.label);
        json.member("state").text(state.health);
        json.member("is_in").truth(state.is_in);
        json.member("since").maybe(state.since_unix_ms, Json::time);
        json.member("backup").truth(state.role == Role::Backup);
        json.member("drained").truth(state.intake == Intake::Drained);
        json.member("insecure").truth(state.verify == Verify::Nothing);
        json.member("connections").object(|json| {
            json.member("busy").count(state.busy);
            json.member("idle").count(state.idle);
            json.member("connecting").count(state.connecting);
        });
        json.member("waiting").count(state.waiting);
        json.member("responses").object(|json| {
            for (code, count) in metrics.codes.sorted() {
                json.member(code.to_string()).number(count);
            }
        });
        json.member("errors").object(|json| reasons(json, &metrics.errors));
    });
}

fn reasons(json: &mut Json<'_>, counts: &Tally<Reason>) {
    for (reason, count) in counts.iter() {
        json.member(reason.word()).number(count);
    }
}

fn traffic(json: &mut Json<'_>, snapshot: &Snapshot<'_>) {
    let metrics = snapshot.metrics;
    json.member("clients").object(|json| {
        json.member("idle").count(snapshot.clients.idle);
        json.member("active").count(snapshot.clients.active);
        json.member("tunnel").count(snapshot.clients.tunnel);
        json.member("closing").count(snapshot.clients.closing);
    });
    json.member("queued").count(snapshot.queued);
    json.member("requests").object(|json| {
        for (status, count) in metrics.statuses() {
            let code = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
            json.member(code).number(count);
        }
    });
    json.member("retries").object(|json| reasons(json, &metrics.retries));
    json.member("body_bytes").object(|json| {
        json.member("in").number(metrics.bytes_in);
        json.member("out").number(metrics.bytes_out);
    });
    json.member("own").object(|json| {
        json.member("requests").number(metrics.overhead.count());
        json.member("sum_ms").millis(metrics.overhead.sum());
    });
    json.member("history").object(|json| {
        json.member("step_seconds").number(STEP.as_secs());
        json.member("steps").array(|json| metrics.history.steps().for_each(|one| step(json, one)));
    });
}

fn step(json: &mut Json<'_>, step: &Step) {
    json.object(|json| {
        json.member("requests").number(u64::from(step.requests));
        json.member("failures").number(u64::from(step.failures));
        json.member("p50_ms").maybe(step.p50, Json::millis);
        json.member("p90_ms").maybe(step.p90, Json::millis);
        json.member("p99_ms").maybe(step.p99, Json::millis);
    });
}

fn trouble(json: &mut Json<'_>, trouble: &Trouble, snapshot: &Snapshot<'_>) {
    let backend = trouble.backend.and_then(|number| snapshot.backend(number));
    json.object(|json| {
        json.member("time").time(trouble.unix_ms);
        json.member("reason").text(trouble.reason.word());
        json.member("sentence").text(trouble.reason.sentence());
        json.member("status").maybe(trouble.status.map(u64::from), Json::number);
        json.member("backend").maybe(backend, |json, backend| json.text(backend.label));
        json.member("request").text(&trouble.request);
    });
}

fn setting(json: &mut Json<'_>, setting: &Setting) {
    json.object(|json| {
        json.member("name").text(setting.name);
        json.member("value").text(&setting.value);
        json.member("default").maybe(setting.default.as_ref(), Json::text);
    });
}
