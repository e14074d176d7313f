//! What is measured, and the figures that come of it.
//!
//! Both programs run side by side for a scenario and are asked in turn, a round each: whatever else
//! the machine does meanwhile, it does to both. A figure is the median of the rounds, a ratio the
//! median of the ratios of neighbouring rounds.

use std::fmt::Write;
use std::time::Duration;

use crate::load::{Load, Reuse, ask_once, connect_blocking};
use crate::origin::{Origin, Speech};
use crate::program::{Program, Programs, Running};

/// How long a round takes, about.
pub(crate) const ROUND_TIME: Duration = Duration::from_millis(300);

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    rounds: usize,
    round_time: Duration,
    idle_clients: usize,
}

impl Extent {
    /// For the figures in the documentation.
    pub(crate) const FULL: Self = Self { rounds: 15, round_time: ROUND_TIME, idle_clients: 5000 };
    /// To see whether something has changed much.
    pub(crate) const QUICK: Self =
        Self { rounds: 3, round_time: Duration::from_millis(100), idle_clients: 1000 };
}

/// Who asks for what, and how.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    name: &'static str,
    content_bytes: usize,
    speech: Speech,
    reuse: Reuse,
    clients: usize,
}

/// All of them.
pub(crate) const SCENARIOS: [Scenario; 8] = [
    Scenario { clients: 1, ..SMALL },
    Scenario { clients: 64, ..SMALL },
    Scenario { clients: 1, ..LARGE },
    Scenario { clients: 64, ..LARGE },
    Scenario { clients: 1, ..CONNECTION_EACH },
    Scenario { clients: 64, ..CONNECTION_EACH },
    Scenario { clients: 1, ..OVER_TLS },
    Scenario { clients: 64, ..OVER_TLS },
];

const SMALL: Scenario = Scenario {
    name: "100 octets",
    content_bytes: 100,
    speech: Speech::Plain,
    reuse: Reuse::Persist,
    clients: 1,
};
const LARGE: Scenario = Scenario { name: "64 KiB", content_bytes: 64 * 1024, ..SMALL };
const CONNECTION_EACH: Scenario =
    Scenario { name: "a connection each", reuse: Reuse::Close, ..SMALL };
const OVER_TLS: Scenario = Scenario { name: "TLS backend", speech: Speech::Tls, ..SMALL };

impl Scenario {
    /// What to call it.
    pub(crate) fn title(&self) -> String {
        let plural = if self.clients == 1 { "" } else { "s" };
        format!("{}, {} client{plural}", self.name, self.clients)
    }

    /// The origin that it needs.
    pub(crate) fn origin(&self) -> Origin {
        Origin::start(self.content_bytes, self.speech)
    }

    /// The program in front of the origin, and the clients in front of the program.
    pub(crate) fn set_up(&self, program: &Program, origin: &Origin) -> (Running, Load) {
        let running = program.start(origin);
        let load = Load::new(running.address, self.clients, self.reuse);
        (running, load)
    }
}

/// What one program needs for one request.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// On a processor.
    pub(crate) cpu: Duration,
    /// From one response to the next, over all clients.
    pub(crate) wall: Duration,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) roundel: Cost,
    pub(crate) tokio_version: Cost,
    /// CPU time of the tokio version for one of roundel: the lowest quarter of the rounds is below
    /// the first, the highest above the last, half are below the middle one.
    pub(crate) ratio: [f64; 3],
}

/// What an idle client costs each program, in octets of resident memory.
pub(crate) struct Idle {
    pub(crate) clients: usize,
    pub(crate) roundel_bytes: u64,
    pub(crate) tokio_version_bytes: u64,
    /// What each program has before the first of them comes.
    pub(crate) before_bytes: [u64; 2],
}

/// All that was measured.
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
    pub(crate) idle: Idle,
}

impl Figures {
    /// Measures everything, and says what it is at.
    pub(crate) fn measure(programs: &Programs, extent: Extent) -> Self {
        let rows = SCENARIOS.iter().map(|scenario| {
            println!("measuring: {}", scenario.title());
            row(scenario, programs, extent)
        });
        let rows = rows.collect();
        println!("measuring: idle clients");
        Self { rows, idle: idle(programs, extent) }
    }

    /// The table, as it stands in the documentation.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| | CPU time per request: roundel | tokio version | ratio (quartiles) \
             | requests/s: roundel | tokio version |\n|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let [low, middle, high] = row.ratio;
            let (ours, theirs) = (row.roundel, row.tokio_version);
            // Writing to a text does not fail.
            let _ = writeln!(
                text,
                "| {} | {:.1} µs | {:.1} µs | {middle:.2} ({low:.2} to {high:.2}) | {:.0} | {:.0} |",
                row.title,
                microseconds(ours.cpu),
                microseconds(theirs.cpu),
                1.0 / ours.wall.as_secs_f64(),
                1.0 / theirs.wall.as_secs_f64(),
            );
        }
        let idle = &self.idle;
        let ratio = idle.tokio_version_bytes as f64 / idle.roundel_bytes.max(1) as f64;
        let [ours, theirs] = idle.before_bytes.map(|bytes| bytes as f64 / 1e6);
        let _ = writeln!(
            text,
            "\nAn idle client ({} of them, each after one request) has {} octets resident in roundel, {} \
             in the tokio version: {ratio:.0} times as many. Before them, roundel has {ours:.1} MB, the \
             tokio version {theirs:.1} MB.",
            idle.clients, idle.roundel_bytes, idle.tokio_version_bytes
        );
        text
    }
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn row(scenario: &Scenario, programs: &Programs, extent: Extent) -> Row {
    let origin = scenario.origin();
    let mut pair = programs.both().map(|program| scenario.set_up(program, &origin));
    let requests = pair.each_mut().map(|(_, load)| requests_per_round(load, extent.round_time));
    let mut rounds: [Vec<Cost>; 2] = Default::default();
    for round in 0..extent.rounds {
        // Who comes first changes, so that nobody always follows the other.
        for which in [round % 2, 1 - round % 2] {
            let (running, load) = &mut pair[which];
            rounds[which].push(cost(running, load, requests[which]));
        }
    }
    let ratios = rounds[0].iter().zip(&rounds[1]);
    let ratios = ratios.map(|(ours, theirs)| theirs.cpu.as_secs_f64() / ours.cpu.as_secs_f64());
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    let at = |quarter: usize| ratios[(ratios.len() - 1) * quarter / 4];
    let [roundel, tokio_version] = rounds.map(|rounds| Cost {
        cpu: median(rounds.iter().map(|cost| cost.cpu)),
        wall: median(rounds.iter().map(|cost| cost.wall)),
    });
    Row { title: scenario.title(), roundel, tokio_version, ratio: [at(1), at(2), at(3)] }
}

/// Warms up, and finds how many requests take about this time.
fn requests_per_round(load: &mut Load, time: Duration) -> u64 {
    let mut requests = 64;
    loop {
        let took = load.run(requests);
        if took > time / 4 {
            let wanted = requests as f64 * time.as_secs_f64() / took.as_secs_f64();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            return (wanted as u64).max(1);
        }
        requests *= 2;
    }
}

fn cost(running: &Running, load: &mut Load, requests: u64) -> Cost {
    let before = running.cpu();
    let wall = load.run(requests);
    let cpu = running.cpu().saturating_sub(before);
    let each = |time: Duration| Duration::from_secs_f64(time.as_secs_f64() / requests as f64);
    Cost { cpu: each(cpu), wall: each(wall) }
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    times[times.len() / 2]
}

/// How much the resident memory grows by clients that made one request each and wait.
fn idle(programs: &Programs, extent: Extent) -> Idle {
    // What the programs and this process need besides.
    const SPARE_DESCRIPTORS: u64 = 256;
    let descriptors = roundel::net::sys::raise_descriptor_limit().expect("a limit of descriptors");
    let clients = usize::try_from(descriptors.saturating_sub(SPARE_DESCRIPTORS))
        .map_or(extent.idle_clients, |most| most.min(extent.idle_clients));
    let origin = SCENARIOS[0].origin();
    let grown = programs.both().map(|program| {
        let running = program.start(&origin);
        let before = running.resident_bytes();
        // The first brings what all share: buffers, a pooled connection for each backend.
        let mut held = vec![ask(&running), ask(&running), ask(&running)];
        let first = running.resident_bytes();
        held.extend((0..clients).map(|_| ask(&running)));
        (before, running.resident_bytes().saturating_sub(first) / clients as u64)
    });
    Idle {
        clients,
        roundel_bytes: grown[0].1,
        tokio_version_bytes: grown[1].1,
        before_bytes: grown.map(|(before, _)| before),
    }
}

fn ask(running: &Running) -> std::net::TcpStream {
    let mut stream = connect_blocking(running.address);
    ask_once(&mut stream, Reuse::Persist);
    stream
}
