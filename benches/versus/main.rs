//! mio against tokio: roundel and `benches/tokio_version`, between the same clients and the same
//! origin.
//!
//! ```text
//! cargo bench --bench versus              builds both programs, measures, prints, plots
//! cargo bench --bench versus -- --quick   the same with few samples
//! ```
//!
//! Both are processes of their own, built as they are released. First come the figures that stand
//! in `docs/12-measuring.md`: rounds of both programs in turn, and of each round what the program's
//! CPU time says, because on a machine that others use too, time on the clock is theirs as much as
//! ours. Then criterion measures that time on the clock, for who wants it.
//!
//! The plot goes to `versus.svg` in the folder of the build's temporary files, or to the file that
//! `VERSUS_SVG` names.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark: a panic is how it reports, and it reads clocks and blocks as it likes"
)]

mod figures;
mod load;
mod origin;
mod plot;
mod program;

use std::path::PathBuf;

use criterion::{Criterion, Throughput};

use figures::{Extent, Figures, SCENARIOS};
use program::Programs;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    // Both ends of each connection, and up to as many again inside of the programs, which inherit
    // this.
    roundel::net::sys::raise_descriptor_limit().expect("a limit of descriptors");
    let programs = Programs::build();
    if has("--bench") && !has("--list") && !has("--test") {
        let extent = if has("--quick") { Extent::QUICK } else { Extent::FULL };
        let figures = Figures::measure(&programs, extent);
        println!("\n{}", figures.table());
        let path = std::env::var_os("VERSUS_SVG").map_or_else(default_path, PathBuf::from);
        std::fs::write(&path, plot::draw(&figures)).expect("the plot can be written");
        println!("plot: {}\n", path.display());
    }
    let mut criterion = Criterion::default().configure_from_args();
    on_the_clock(&mut criterion, &programs);
    criterion.final_summary();
}

fn default_path() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("versus.svg")
}

/// Time on the clock, as criterion measures it: from the first request of many to the last
/// response.
fn on_the_clock(criterion: &mut Criterion, programs: &Programs) {
    for scenario in SCENARIOS {
        let mut group = criterion.benchmark_group(scenario.title());
        group.throughput(Throughput::Elements(1)).sample_size(20);
        group.measurement_time(figures::ROUND_TIME * 10).warm_up_time(figures::ROUND_TIME);
        let origin = scenario.origin();
        for program in programs.both() {
            // It is started by the first sample: the filter of the command line may leave it out.
            let mut running = None;
            group.bench_function(program.name, |bencher| {
                let (_, load) = running.get_or_insert_with(|| scenario.set_up(program, &origin));
                bencher.iter_custom(|requests| load.run(requests));
            });
        }
        group.finish();
    }
}
