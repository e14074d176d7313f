//! Names to addresses, on a thread of its own.
//!
//! `getaddrinfo` blocks for as long as the name servers like. It must not run on the loop, so one
//! helper thread asks for all names in turn, again and again, and tells the loop through a channel
//! what has changed. It is started only when there are names. Where a backend cannot be reached, the
//! loop has its name asked for sooner.
//!
//! Knows nothing of backends: a name is a number and a text here. Invariant: a failure takes nothing
//! away; whoever had addresses keeps them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Timeouts;

/// Something that knows the addresses of names.
pub trait Lookup: Send + 'static {
    /// Asks for a name's addresses, and may take its time.
    ///
    /// # Errors
    /// When the name has none, or nobody could be asked.
    fn lookup(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver: `/etc/hosts`, the name servers, and whatever else it is set up to ask.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    #[expect(clippy::disallowed_methods, reason = "this is the file that may block")]
    fn lookup(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))?;
        let mut unique: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if !unique.contains(&address) {
                unique.push(address);
            }
        }
        if unique.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(unique)
    }
}

/// A name to be resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// What the answer refers to.
    pub id: usize,
    /// The name.
    pub host: String,
    /// Goes into the addresses.
    pub port: u16,
}

/// The names to be resolved, and who is asked.
#[derive(Clone, Debug)]
pub struct Questions<L> {
    /// The names.
    pub names: Vec<Name>,
    /// Knows the addresses.
    pub lookup: L,
}

/// How often is asked.
#[derive(Clone, Copy, Debug)]
struct Pace {
    refresh: Duration,
    retry: Duration,
}

/// News about a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The name that was asked for.
    pub id: usize,
    /// Its addresses, at least one; or in words why there are none.
    pub outcome: Result<Vec<SocketAddr>, String>,
}

/// The loop's end of the helper thread. Dropping it ends the thread after its current question.
#[derive(Debug)]
pub struct Resolver {
    answers: Receiver<Answer>,
    doubts: Sender<usize>,
}

struct Asked {
    name: Name,
    pace: Pace,
    known: Option<Vec<SocketAddr>>,
    retry: Duration,
    fails: Failing,
    asked: Instant,
    due: Instant,
}

/// Whether the last answer was that there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    Yes,
    No,
}

impl Resolver {
    /// Starts the thread. `wake` is called after each answer.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        questions: Questions<impl Lookup>,
        timeouts: &Timeouts,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let Questions { names, mut lookup } = questions;
        let pace = Pace { refresh: timeouts.name_refresh, retry: timeouts.name_retry };
        let (answer_sender, answers) = mpsc::channel();
        let (doubts, doubted) = mpsc::channel();
        let work = move || {
            let now = clock::now().instant;
            let mut asked: Vec<Asked> =
                names.into_iter().map(|name| Asked::new(name, pace, now)).collect();
            while let Some(next) = asked.iter_mut().min_by_key(|asked| asked.due) {
                let wait = next.due.saturating_duration_since(clock::now().instant);
                match doubted.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(id) => {
                        asked.iter_mut().filter(|asked| asked.name.id == id).for_each(Asked::doubt);
                        continue;
                    }
                }
                if let Some(answer) = next.ask(&mut lookup) {
                    if answer_sender.send(answer).is_err() {
                        return;
                    }
                    wake();
                }
            }
        };
        thread::Builder::new().name("resolver".into()).spawn(work)?;
        Ok(Self { answers, doubts })
    }

    /// Has this name asked for again, soon: its addresses do not work.
    pub fn doubt(&self, id: usize) {
        // A thread that has ended answers nothing any more; the log has told why.
        let _ = self.doubts.send(id);
    }

    /// News that has arrived, without waiting for more.
    pub fn news(&self) -> impl Iterator<Item = Answer> {
        self.answers.try_iter()
    }

    /// Waits for news, but not longer than this.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> Option<Answer> {
        self.answers.recv_timeout(timeout).ok()
    }
}

impl Asked {
    fn new(name: Name, pace: Pace, now: Instant) -> Self {
        Self {
            name,
            pace,
            known: None,
            retry: pace.retry,
            fails: Failing::No,
            asked: now,
            due: now,
        }
    }

    /// The next time comes sooner, but not at once where it was asked for just now.
    fn doubt(&mut self) {
        self.due = self.due.min(self.asked + self.retry);
    }

    /// Asks once, plans the next time, and says what is new.
    fn ask(&mut self, lookup: &mut impl Lookup) -> Option<Answer> {
        let outcome = lookup.lookup(&self.name.host, self.name.port);
        let now = clock::now().instant;
        self.asked = now;
        let outcome = match outcome {
            Ok(mut addresses) => {
                self.retry = self.pace.retry;
                self.due = now + self.pace.refresh - self.jitter(now);
                // The order of an answer often rotates; that alone is no news.
                let order = addresses.clone();
                addresses.sort_unstable();
                let is_back = std::mem::replace(&mut self.fails, Failing::No) == Failing::Yes;
                if !is_back && self.known.as_ref() == Some(&addresses) {
                    return None;
                }
                self.known = Some(addresses);
                Ok(order)
            }
            Err(error) => {
                self.fails = Failing::Yes;
                self.due = now + self.retry;
                self.retry = (self.retry * 2).min(self.pace.refresh);
                Err(error.to_string())
            }
        };
        Some(Answer { id: self.name.id, outcome })
    }
}

impl Asked {
    /// Up to a tenth of the interval, from what the clock and the name happen to be.
    fn jitter(&self, now: Instant) -> Duration {
        let hash = RandomState::new().hash_one((now, &self.name.host));
        self.pace.refresh * u32::try_from(hash % 100).unwrap_or_default() / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Script(Vec<io::Result<Vec<SocketAddr>>>);

    impl Lookup for Script {
        fn lookup(&mut self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            if self.0.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { self.0.remove(0) }
        }
    }

    const PACE: Pace = Pace { refresh: Duration::from_secs(30), retry: Duration::from_secs(1) };

    fn address(last: u8) -> SocketAddr {
        ([127, 0, 0, last], 80).into()
    }

    #[test]
    fn only_what_is_new_is_told() {
        let script = vec![
            Ok(vec![address(1), address(2)]),
            Ok(vec![address(2), address(1)]),
            Err(io::ErrorKind::NotFound.into()),
            Ok(vec![address(1), address(2)]),
            Ok(vec![address(3)]),
        ];
        let mut lookup = Script(script);
        let name = Name { id: 7, host: "h".into(), port: 80 };
        let mut asked = Asked::new(name, PACE, clock::now().instant);
        let first = asked.ask(&mut lookup);
        assert_eq!(first, Some(Answer { id: 7, outcome: Ok(vec![address(1), address(2)]) }));
        assert_eq!(asked.ask(&mut lookup), None, "the same addresses in another order");
        assert!(asked.ask(&mut lookup).is_some_and(|answer| answer.outcome.is_err()));
        assert!(asked.ask(&mut lookup).is_some_and(|answer| answer.outcome.is_ok()), "it is back");
        let last = asked.ask(&mut lookup);
        assert_eq!(last, Some(Answer { id: 7, outcome: Ok(vec![address(3)]) }));
    }

    #[test]
    fn failures_are_asked_for_again_ever_more_slowly() {
        let mut lookup = Script(Vec::new());
        let name = Name { id: 0, host: "h".into(), port: 80 };
        let mut asked = Asked::new(name, PACE, clock::now().instant);
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push(asked.retry.as_secs());
            assert!(asked.ask(&mut lookup).is_some());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_name_in_doubt_is_asked_for_sooner_but_not_at_once() {
        let name = Name { id: 0, host: "h".into(), port: 80 };
        let mut asked = Asked::new(name, PACE, clock::now().instant);
        let mut lookup = Script(vec![Ok(vec![address(1)])]);
        assert!(asked.ask(&mut lookup).is_some());
        let wait = |asked: &Asked| asked.due - asked.asked;
        let usual = wait(&asked);
        assert!(usual <= PACE.refresh && usual >= PACE.refresh * 9 / 10, "{usual:?}");
        asked.doubt();
        assert_eq!(wait(&asked), PACE.retry);
    }

    #[test]
    fn a_doubt_reaches_the_thread() {
        let names = vec![Name { id: 1, host: "h".into(), port: 80 }];
        let script = Script(vec![Ok(vec![address(1)]), Ok(vec![address(2)])]);
        let questions = Questions { names, lookup: script };
        let resolver = Resolver::start(questions, &Timeouts::default(), || {});
        let resolver = resolver.expect("a thread");
        let patience = Duration::from_secs(20);
        assert!(resolver.wait(patience).is_some());
        resolver.doubt(1);
        let answer = resolver.wait(patience);
        assert_eq!(answer, Some(Answer { id: 1, outcome: Ok(vec![address(2)]) }));
    }

    #[test]
    fn the_thread_answers_and_wakes() {
        let (woken_sender, woken) = mpsc::channel();
        let names = vec![Name { id: 1, host: "h".into(), port: 80 }];
        let wake = move || {
            let _ = woken_sender.send(());
        };
        let questions = Questions { names, lookup: Script(vec![Ok(vec![address(9)])]) };
        let resolver = Resolver::start(questions, &Timeouts::default(), wake).expect("a thread");
        let answer = resolver.wait(Duration::from_secs(10));
        assert_eq!(answer, Some(Answer { id: 1, outcome: Ok(vec![address(9)]) }));
        assert!(woken.recv_timeout(Duration::from_secs(10)).is_ok());
    }
}
