//! The narrated trace of one run: what everybody did, in order, when somebody wants to know.
//!
//! A thousand sound seeds tell nothing and pay nothing for it: the text of a line is only made while a
//! run is being told. roundel's own trace lines are told with the rest, through its log.

use std::{
    cell::{Cell, RefCell},
    fmt::Display,
    time::Duration,
};

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    static STAMP: Cell<(u64, Duration)> = const { Cell::new((0, Duration::ZERO)) };
}

/// From now on, what happens on this thread is told.
pub(crate) fn begin() {
    LINES.set(Some(Vec::new()));
    // A second one changes nothing: the logger is the same.
    let _ = log::set_logger(&ROUNDEL);
    log::set_max_level(log::LevelFilter::Trace);
}

/// The end of the story.
pub(crate) fn end() -> Vec<String> {
    LINES.take().unwrap_or_default()
}

/// Sets the turn and the time that stand in front of each line.
pub(crate) fn stamp(turn: u64, elapsed: Duration) {
    STAMP.set((turn, elapsed));
}

/// Adds a line, if somebody listens.
pub(crate) fn say<T: Display>(text: impl FnOnce() -> T) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            let (turn, elapsed) = STAMP.get();
            let text = text();
            lines.push(format!("{turn:>5} {:>9.3}s  {text}", elapsed.as_secs_f64()));
        }
    });
}

struct Roundel;

static ROUNDEL: Roundel = Roundel;

impl log::Log for Roundel {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("roundel")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            say(|| format!("    roundel: {}", record.args()));
        }
    }

    fn flush(&self) {}
}
