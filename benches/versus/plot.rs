//! The figures as a picture: a pair of bars for each line of the table.
//!
//! It has colours for a light and a dark page and takes those that the reader's system asks for,
//! its background among them, so that it can be read wherever it is shown.

use std::fmt::Write;

use crate::figures::{Figures, Row, microseconds};

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 215.0;
const BAR_MAX: f64 = 390.0;
const BAR_HEIGHT: f64 = 13.0;
const ROW_HEIGHT: f64 = 42.0;
const TOP: f64 = 84.0;

const STYLE: &str = "\
  .page { fill: #ffffff } text { fill: #24292f; font: 13px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 } .faint { fill: #57606a }
  .roundel { fill: #0969da } .tokio { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .faint { fill: #9198a1 }
    .roundel { fill: #4493f8 } .tokio { fill: #f0883e }
  }
";

/// Draws them, as SVG.
pub(crate) fn draw(figures: &Figures) -> String {
    let height = TOP + ROW_HEIGHT * (figures.rows.len() as f64 + 2.0) + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"CPU time per request and memory per idle client of roundel and of the tokio \
         version\">\n<style>\n{STYLE}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\" \
         rx=\"6\"/>\n"
    );
    text(&mut svg, [20.0, 30.0], "title", "CPU time per request; shorter is better");
    legend(&mut svg, 20.0, "roundel", "roundel (mio)");
    legend(&mut svg, LEFT, "tokio", "the same proxy on tokio and hyper");
    let cpu = |row: &Row| [row.roundel.cpu, row.tokio_version.cpu].map(microseconds);
    let longest = figures.rows.iter().flat_map(cpu).fold(0.0, f64::max);
    let mut y = TOP;
    for row in &figures.rows {
        pair(
            &mut svg,
            y,
            &row.title,
            cpu(row).map(|us| Bar::new(us, longest, format!("{us:.1} µs"))),
        );
        let [_, ratio, _] = row.ratio;
        text(&mut svg, [WIDTH - 62.0, y + 18.0], "faint", &format!("× {ratio:.2}"));
        y += ROW_HEIGHT;
    }
    y += 30.0;
    text(&mut svg, [20.0, y], "title", "Resident memory per idle client; shorter is better");
    let idle = &figures.idle;
    let bytes = [idle.roundel_bytes, idle.tokio_version_bytes].map(|bytes| bytes as f64);
    let longest = bytes[0].max(bytes[1]);
    let bars = bytes.map(|octets| Bar::new(octets, longest, format!("{octets:.0} octets")));
    pair(&mut svg, y + 14.0, &format!("{} idle clients", idle.clients), bars);
    svg.push_str("</svg>\n");
    svg
}

struct Bar {
    length: f64,
    label: String,
}

impl Bar {
    fn new(value: f64, longest: f64, label: String) -> Self {
        Self { length: (value / longest.max(f64::MIN_POSITIVE) * BAR_MAX).max(1.0), label }
    }
}

fn legend(svg: &mut String, x: f64, class: &str, name: &str) {
    rect(svg, [x, 46.0], 14.0, class);
    text(svg, [x + 22.0, 57.0], "", name);
}

/// roundel's bar above the other's.
fn pair(svg: &mut String, y: f64, title: &str, bars: [Bar; 2]) {
    text(svg, [20.0, y + 18.0], "", title);
    for (place, (bar, class)) in bars.iter().zip(["roundel", "tokio"]).enumerate() {
        let y = y + place as f64 * (BAR_HEIGHT + 2.0);
        rect(svg, [LEFT, y], bar.length, class);
        text(svg, [LEFT + bar.length + 8.0, y + 11.0], "", &bar.label);
    }
}

fn rect(svg: &mut String, [x, y]: [f64; 2], width: f64, class: &str) {
    // Writing to a text does not fail.
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
         rx=\"2\"/>"
    );
}

fn text(svg: &mut String, [x, y]: [f64; 2], class: &str, text: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}
