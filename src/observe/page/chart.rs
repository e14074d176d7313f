//! Small charts of the last minutes, as SVG, with their numbers in words beside them.
//!
//! The drawing is stretched to whatever room there is; what is to be read stands around it as text, which
//! is not. Knows nothing of requests beyond their steps. Invariants: the newest step is at the right, and
//! its place does not depend on how many there are; where nothing happened, no time is drawn.

use std::fmt::Write;
use std::time::Duration;

use super::html::Html;
use super::words::{count, latency, rate};
use crate::observe::history::{STEP, STEPS_COUNT_MAX, Step};

/// How high the drawing is, in its own units; a step is one of them wide.
const HEIGHT: f64 = 100.0;

/// How many steps the table of numbers has: a minute.
const STEPS_TOLD: usize = 12;

/// Powers of ten of a microsecond, between which latencies are drawn: 10 µs to 10,000 s.
const DECADE_MIN: i32 = 1;
const DECADE_MAX: i32 = 10;

/// What stands around a drawing.
struct Frame<'a> {
    title: &'static str,
    /// The numbers that matter most, in words.
    summary: &'a str,
    /// The whole of it in a sentence, for those who do not see it.
    alternative: &'a str,
    /// What the horizontal lines stand for, from the top to the bottom, at equal distances.
    scale: &'a [String],
}

/// Requests a second, and those of them that failed.
pub(super) fn rates(out: &mut Html, steps: &[Step]) {
    let seconds = u32::try_from(STEP.as_secs()).unwrap_or(1);
    let highest = steps.iter().map(|step| step.requests).max().unwrap_or(0);
    let last = steps.last().copied().unwrap_or_default();
    let failures: u64 = steps.iter().map(|step| u64::from(step.failures)).sum();
    let top = round_up(highest.div_ceil(seconds).max(2));
    let share = |count: u32| f64::from(count) / f64::from(top * seconds);
    let summary = format!(
        "now {}, at most {}, {} failed",
        rate(last.requests),
        rate(highest),
        count(failures)
    );
    let alternative = format!("Requests a second over the last five minutes: {summary}.");
    let scale = [count(u64::from(top)), half(top), "0".to_owned()];
    let frame = Frame {
        title: "Requests a second",
        summary: &summary,
        alternative: &alternative,
        scale: &scale,
    };
    begin(out, &frame);
    let all = bars(steps, |step| share(step.requests));
    let failed = bars(steps, |step| share(step.failures));
    for (class, path) in [("requests", all), ("failures", failed)] {
        out.markup("<path class=\"").text(class).markup("\" d=\"").text(path).markup("\"/>");
    }
    end(out, &[("requests", "all"), ("failures", "failed")]);
}

/// How long requests take, on a logarithmic scale.
pub(super) fn latencies(out: &mut Html, steps: &[Step]) {
    let known = steps.iter().flat_map(|step| [step.p50, step.p99]).flatten();
    let decades: Vec<f64> = known.map(decade).collect();
    let low = decades.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let high = decades.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
    // Without any: 1 to 100 ms.
    let (low, high) = if decades.is_empty() { (3.0, 5.0) } else { (low, high.max(low + 1.0)) };
    let last = steps.iter().rev().find(|step| step.p50.is_some()).copied().unwrap_or_default();
    let summary =
        format!("p50 {}, p90 {}, p99 {}", latency(last.p50), latency(last.p90), latency(last.p99));
    let alternative = format!("Time of a request over the last five minutes: lately {summary}.");
    let scale: Vec<String> = (DECADE_MIN..=DECADE_MAX)
        .rev()
        .filter(|power| (low..=high).contains(&f64::from(*power)))
        .map(|power| latency(Some(Duration::from_micros(10u64.pow(power.unsigned_abs())))))
        .collect();
    let frame = Frame {
        title: "Time of a request",
        summary: &summary,
        alternative: &alternative,
        scale: &scale,
    };
    begin(out, &frame);
    let share = |time: Option<Duration>| time.map(|time| (decade(time) - low) / (high - low));
    for (class, path) in [
        ("p99", line(steps, |step| share(step.p99))),
        ("p90", line(steps, |step| share(step.p90))),
        ("p50", line(steps, |step| share(step.p50))),
    ] {
        out.markup("<path class=\"").text(class).markup("\" d=\"").text(path).markup("\"/>");
    }
    end(out, &[("p50", "half are faster"), ("p90", "9 of 10"), ("p99", "99 of 100")]);
}

/// The last minute once more, as a table.
pub(super) fn numbers(out: &mut Html, steps: &[Step]) {
    out.markup("<details class=\"numbers\"><summary>The last minute in numbers</summary>");
    out.markup("<table id=\"steps\"><thead><tr>");
    for name in ["Seconds ago", "Requests", "Failed", "p50", "p90", "p99"] {
        out.markup("<th scope=\"col\" class=\"number\">").text(name).markup("</th>");
    }
    out.markup("</tr></thead><tbody>");
    for (place, step) in steps.iter().rev().take(STEPS_TOLD).enumerate() {
        let ago = STEP.as_secs() * place as u64;
        out.markup("<tr><th scope=\"row\" class=\"number\">").text(ago + STEP.as_secs());
        out.markup(" to ").text(ago).markup("</th>");
        for value in [
            count(u64::from(step.requests)),
            count(u64::from(step.failures)),
            latency(step.p50),
            latency(step.p90),
            latency(step.p99),
        ] {
            out.markup("<td class=\"number\">").text(value).markup("</td>");
        }
        out.markup("</tr>");
    }
    out.markup("</tbody></table></details>");
}

fn begin(out: &mut Html, frame: &Frame<'_>) {
    out.markup("<figure><figcaption><h2>").text(frame.title).markup("</h2><p class=\"besides\">");
    out.text(frame.summary).markup("</p></figcaption><div class=\"plot\">");
    out.markup("<div class=\"scale\" aria-hidden=\"true\">");
    for value in frame.scale {
        out.markup("<span>").text(value).markup("</span>");
    }
    out.markup("</div><svg role=\"img\" preserveAspectRatio=\"none\" viewBox=\"0 0 ");
    out.text(STEPS_COUNT_MAX).markup(" ").text(HEIGHT).markup("\" aria-label=\"");
    out.text(frame.alternative).markup("\"><path class=\"grid\" d=\"");
    let gaps = frame.scale.len().saturating_sub(1).max(1);
    for place in 0..frame.scale.len() {
        let y = HEIGHT * place as f64 / gaps as f64;
        out.markup("M0 ").text(y).markup("H").text(STEPS_COUNT_MAX);
    }
    out.markup("\"/>");
}

fn end(out: &mut Html, legend: &[(&'static str, &'static str)]) {
    out.markup("</svg><div class=\"times\" aria-hidden=\"true\"><span>5 min ago</span>");
    out.markup("<span>2.5 min</span><span>now</span></div></div><ul class=\"legend\">");
    for (class, name) in legend {
        out.markup(
            "<li><svg class=\"sample\" viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"",
        );
        out.text(class).markup("\" d=\"M0 4H24");
        // What is drawn as areas is shown as one.
        out.markup(if matches!(*class, "requests" | "failures") { "V8H0V4z\"/>" } else { "\"/>" });
        out.markup("</svg> ").text(name).markup("</li>");
    }
    out.markup("</ul></figure>");
}

/// The left edge of each step.
fn placed(steps: &[Step]) -> impl Iterator<Item = (usize, &Step)> {
    let first = STEPS_COUNT_MAX.saturating_sub(steps.len());
    steps.iter().enumerate().map(move |(place, step)| (first + place, step))
}

/// Bars whose heights are shares of the whole.
fn bars(steps: &[Step], share: impl Fn(&Step) -> f64) -> String {
    let mut path = String::new();
    for (x, step) in placed(steps) {
        let share = share(step).clamp(0.0, 1.0);
        if share > 0.0 {
            let y = HEIGHT * (1.0 - share);
            // Writing to a text does not fail.
            let _ = write!(path, "M{x}.1 {HEIGHT}V{y:.1}h.8V{HEIGHT}z");
        }
    }
    path
}

/// A line of one level for each step that has one.
fn line(steps: &[Step], share: impl Fn(&Step) -> Option<f64>) -> String {
    let mut path = String::new();
    let mut is_open = false;
    for (x, step) in placed(steps) {
        let Some(share) = share(step) else {
            is_open = false;
            continue;
        };
        let y = HEIGHT * (1.0 - share.clamp(0.0, 1.0));
        let pen = if is_open { 'L' } else { 'M' };
        let _ = write!(path, "{pen}{x} {y:.1}h1");
        is_open = true;
    }
    path
}

/// The power of ten of a microsecond that a time is, to a hundredth. Straight lines between the digits will do
/// for a chart; the library of logarithms would be a third of a megabyte in memory.
fn decade(time: Duration) -> f64 {
    const OF_DIGITS: [f64; 10] = [0.0, 0.301, 0.477, 0.602, 0.699, 0.778, 0.845, 0.903, 0.954, 1.0];
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let power = us.ilog10();
    let unit = 10_u64.pow(power);
    let digit = usize::try_from(us / unit).unwrap_or(1).clamp(1, 9);
    let (below, above) = (OF_DIGITS[digit - 1], OF_DIGITS[digit]);
    #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
    let rest = (us % unit) as f64 / unit as f64;
    let decade = f64::from(power) + below + (above - below) * rest;
    decade.clamp(f64::from(DECADE_MIN), f64::from(DECADE_MAX))
}

/// The next number that begins with 1, 2 or 5 and has only zeros behind.
fn round_up(number: u32) -> u32 {
    let mut power = 1u32;
    loop {
        for first in [1, 2, 5] {
            match power.checked_mul(first) {
                Some(round) if round >= number => return round,
                Some(_) => {}
                None => return number,
            }
        }
        power = power.saturating_mul(10);
    }
}

fn half(number: u32) -> String {
    if number % 2 == 0 { count(u64::from(number / 2)) } else { format!("{}.5", number / 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(requests: u32, us: u64) -> Step {
        let p = Some(Duration::from_micros(us));
        Step { requests, failures: requests / 2, p50: p, p90: p, p99: p }
    }

    fn drawn(draw: fn(&mut Html, &[Step]), steps: &[Step]) -> String {
        let mut html = Html::with_capacity(0);
        draw(&mut html, steps);
        html.into_text()
    }

    #[test]
    fn scales_are_round() {
        for (number, want) in [(1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (501, 1000), (1000, 1000)]
        {
            assert_eq!(round_up(number), want);
        }
        assert_eq!(round_up(u32::MAX), u32::MAX);
        assert_eq!((half(5), half(20)), ("2.5".to_owned(), "10".to_owned()));
    }

    #[test]
    fn the_newest_step_is_at_the_right() {
        let text = drawn(rates, &[step(50, 1), step(100, 1)]);
        assert!(text.contains("d=\"M58.1 100V50.0h.8V100zM59.1 100V0.0h.8V100z\""), "{text}");
        assert!(text.contains("<span>20</span><span>10</span><span>0</span>"), "{text}");
        assert!(text.contains("now 20, at most 20, 75 failed"), "{text}");
    }

    #[test]
    fn where_nothing_happened_no_time_is_drawn() {
        let silence = Step { p50: None, p90: None, p99: None, ..step(0, 1) };
        let text = drawn(latencies, &[step(1, 1_000), silence, step(1, 10_000), step(1, 1_000)]);
        assert!(text.contains("class=\"p50\" d=\"M56 100.0h1M58 0.0h1L59 100.0h1\""), "{text}");
        assert!(text.contains("<span>10 ms</span><span>1 ms</span>"), "{text}");
        for extreme in [drawn(latencies, &[]), drawn(latencies, &[step(1, 0), step(1, u64::MAX)])] {
            assert!(!extreme.contains("NaN") && !extreme.contains("inf"), "{extreme}");
        }
    }
}
