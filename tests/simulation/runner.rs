//! Runs seeds, many at once, and tells the story of one that fails.

use std::{
    any::Any,
    cell::RefCell,
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{
    chance::script_of,
    script::Script,
    shrink::shrink,
    trace,
    world::{Failure, Tally, run},
};

/// How long one seed may take; thousands of them take seconds.
const SEED_TIMEOUT: Duration = Duration::from_secs(60);

/// How many lines of a trace are printed, unless all are asked for: its end is what matters.
const TRACE_LINES_MAX: usize = 400;

/// Which seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) tls: bool,
}

/// Runs these seeds, or what the environment asks for instead; panics with the story of the first one
/// that fails.
pub(crate) fn run_seeds(seeds: Seeds) -> Tally {
    let seeds = asked_for(seeds);
    let next = AtomicU64::new(seeds.first);
    let end = seeds.first + seeds.count;
    let failed = AtomicU64::new(u64::MAX);
    let (done, tallies) = mpsc::channel();
    let all = env::var("ROUNDEL_ALL").is_ok_and(|choice| choice == "1");
    let workers = thread::available_parallelism().map_or(1, |n| n.get());
    let mut total = Tally::default();
    thread::scope(|scope| {
        for _ in 0..workers {
            let done = done.clone();
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end || seed > failed.load(Ordering::SeqCst) {
                        break;
                    }
                    match run_guarded(&script_of(seed, seeds.tls)) {
                        Ok(tally) => done.send(Some(tally)).expect("somebody counts"),
                        Err(failure) if all => eprintln!("seed {seed} fails: {}", failure.0),
                        Err(_) => {
                            failed.fetch_min(seed, Ordering::SeqCst);
                        }
                    }
                }
                done.send(None).expect("somebody counts");
            });
        }
        let mut busy = workers;
        while busy > 0 {
            match tallies.recv_timeout(SEED_TIMEOUT) {
                Ok(Some(tally)) => add(&mut total, tally),
                Ok(None) => busy -= 1,
                Err(_) => give_up(next.load(Ordering::SeqCst)),
            }
        }
    });
    let seed = failed.load(Ordering::SeqCst);
    assert!(seed == u64::MAX, "{}", story(seed, seeds.tls));
    total
}

/// `ROUNDEL_SEED=S` begins there, `ROUNDEL_SEEDS=N` runs so many.
fn asked_for(mut seeds: Seeds) -> Seeds {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
    };
    if let Some(first) = number("ROUNDEL_SEED") {
        seeds.first = first;
        seeds.count = 1;
    }
    if let Some(count) = number("ROUNDEL_SEEDS") {
        seeds.count = count;
    }
    seeds
}

fn add(total: &mut Tally, one: Tally) {
    total.turns += one.turns;
    total.octets += one.octets;
    total.answers += one.answers;
    total.own_answers += one.own_answers;
    total.fingerprint = total.fingerprint.wrapping_add(one.fingerprint);
}

/// A run that does not end cannot be interrupted: the process has to end with it.
fn give_up(seed: u64) -> ! {
    eprintln!("a seed not far below {seed} does not end");
    std::process::exit(101);
}

/// Runs a script; a panic is a failure like any other.
pub(crate) fn run_guarded(script: &Script) -> Result<Tally, Failure> {
    catch_quietly();
    LAST_PANIC.set(Some(String::new()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(script)));
    let place = LAST_PANIC.take().unwrap_or_default();
    match outcome {
        Ok(outcome) => outcome,
        Err(payload) => Err(Failure(format!("panic: {} {place}", words(&*payload)))),
    }
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

thread_local! {
    /// Where the last panic was, on a thread that wants to know instead of printing it.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics inside of a run are not printed, only remembered.
fn catch_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_quiet = LAST_PANIC.with_borrow_mut(|last| match last {
                Some(place) => {
                    *place = info.location().map(|at| format!("(at {at})")).unwrap_or_default();
                    true
                }
                None => false,
            });
            if !is_quiet {
                loud(info);
            }
        }));
    });
}

/// Everything about a seed that fails: why, the smallest script that does so as well, and what happens
/// in it.
fn story(seed: u64, tls: bool) -> String {
    let script = script_of(seed, tls);
    let Err(failure) = run_guarded(&script) else {
        return format!("seed {seed} failed once and not again: that must not be");
    };
    let head = format!("seed {seed} fails: {}\n", failure.0);
    if env::var("ROUNDEL_SHRINK").is_ok_and(|choice| choice == "0") {
        return head;
    }
    let (script, failure) = shrink(&script, &failure);
    trace::begin();
    let again = run_guarded(&script);
    let lines = trace::end();
    let all = env::var("ROUNDEL_TRACE").is_ok_and(|choice| choice == "all");
    let skipped = if all { 0 } else { lines.len().saturating_sub(TRACE_LINES_MAX) };
    let note = match again {
        Err(found) if found == failure => String::new(),
        other => format!("\nIt is not the same each time: {other:?}"),
    };
    format!(
        "{head}To see it again: ROUNDEL_SEED={seed} cargo test --test simulation\n\
         The smallest script that fails likewise:\n\n{script}\n\
         What happens in it ({skipped} lines are left out; ROUNDEL_TRACE=all shows them):\n{}\n\
         {}{note}\n",
        lines[skipped..].join("\n"),
        failure.0
    )
}
