//! The names of the backends that run, and of those that are about to.
//!
//! A new configuration is asked about before it is in force, so that nobody meets a backend whose addresses
//! are not known yet. Knows nothing of backends beyond their numbers, and nothing of how names are
//! resolved.
//!
//! Invariant: an answer reaches the backend for which it was asked, or nobody.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Registry, Waker};

use crate::backend::BackendId;
use crate::clock;
use crate::config::Timeouts;
use crate::key::{Subject, Token};
use crate::net::resolve::{Answer, Lookup, Questions, Resolver};
use crate::net::tcp::poll_token;

/// What the waker is called in the poll.
pub const WAKER: Subject = Subject::Process(1);

/// The most threads at a time that ask. One whose answers nobody wants any more ends with its current
/// question, which can take long where no name server answers, while configurations come and go.
const THREADS_COUNT_MAX: usize = 64;

/// Who asks for names.
#[derive(Default, Debug)]
pub struct Names {
    /// There is one for a poll, whoever asks; each thread shares it for as long as it runs.
    waker: Option<Arc<Waker>>,
    current: Option<Asking>,
    next: Option<Asking>,
}

/// A list of names that are asked for.
#[derive(Debug)]
struct Asking {
    resolver: Resolver,
    count: usize,
    /// To which backend each belongs: by place in the configuration that named it.
    numbers: Vec<BackendId>,
    /// Answers to a configuration that is not in force yet.
    answers: Vec<Answer>,
}

impl Names {
    /// Begins to ask for names that are about to be needed.
    ///
    /// # Errors
    /// When there is no thread, or no descriptor, to be had, or the threads of earlier configurations still
    /// wait for answers.
    pub fn ask(
        &mut self,
        questions: Questions<impl Lookup>,
        timeouts: &Timeouts,
        registry: &Registry,
    ) -> io::Result<()> {
        self.next = None;
        if questions.names.is_empty() {
            return Ok(());
        }
        let threads = self.waker.as_ref().map_or(0, |waker| Arc::strong_count(waker) - 1);
        if threads >= THREADS_COUNT_MAX {
            return Err(io::Error::other(
                "those asked for before are not answered yet; try again later",
            ));
        }
        let waker = match &self.waker {
            Some(waker) => Arc::clone(waker),
            None => Arc::new(Waker::new(registry, poll_token(Token::from(WAKER)))?),
        };
        self.waker = Some(Arc::clone(&waker));
        let wake = move || {
            // A poll that cannot be woken has ended, and nobody wants the answer.
            let _ = waker.wake();
        };
        let count = questions.names.len();
        let resolver = Resolver::start(questions, timeouts, wake)?;
        self.next = Some(Asking { resolver, count, numbers: Vec::new(), answers: Vec::new() });
        Ok(())
    }

    /// Whether there are names that are about to be needed.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Whether each of the names that are about to be needed has been asked for.
    pub fn are_known(&mut self) -> bool {
        let Some(next) = &mut self.next else { return true };
        next.answers.extend(next.resolver.news());
        next.answers.len() >= next.count
    }

    /// Waits for that, but not longer than this.
    pub fn await_known(&mut self, timeout: Duration) {
        let end = clock::now().instant + timeout;
        let Some(next) = &mut self.next else { return };
        while next.answers.len() < next.count {
            let left = end.saturating_duration_since(clock::now().instant);
            match next.resolver.wait(left) {
                Some(answer) => next.answers.push(answer),
                None => return,
            }
        }
    }

    /// The names that were about to be needed are needed from now on: their backends have these numbers, in
    /// the order of the configuration. Gives what is known of them.
    #[must_use]
    pub fn adopt(&mut self, numbers: Vec<BackendId>) -> Vec<Answer> {
        self.current = self.next.take();
        let Some(current) = &mut self.current else { return Vec::new() };
        current.numbers = numbers;
        let answers = std::mem::take(&mut current.answers);
        answers.into_iter().filter_map(|answer| current.addressed(answer)).collect()
    }

    /// What is about to be needed is not.
    pub fn forget_next(&mut self) {
        self.next = None;
    }

    /// News of the names that are needed now.
    #[must_use]
    pub fn news(&mut self) -> Vec<Answer> {
        let Some(current) = &self.current else { return Vec::new() };
        current.resolver.news().filter_map(|answer| current.addressed(answer)).collect()
    }

    /// The addresses of this backend do not work.
    pub fn doubt(&self, id: BackendId) {
        if let Some(current) = &self.current
            && let Some(place) = current.numbers.iter().position(|number| *number == id)
        {
            current.resolver.doubt(place);
        }
    }
}

impl Asking {
    /// The same answer under the number of its backend.
    fn addressed(&self, answer: Answer) -> Option<Answer> {
        self.numbers.get(answer.id).map(|number| Answer { id: number.0, ..answer })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "a test of threads: a lock is what they wait for")]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::sync::mpsc::{self, Sender};
    use std::thread;

    use super::*;
    use crate::net::resolve::Name;

    /// A name server that answers nobody while somebody holds its lock.
    #[derive(Clone)]
    struct Silence {
        lock: Arc<Mutex<()>>,
        asked: Sender<()>,
    }

    impl Lookup for Silence {
        fn lookup(&mut self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            // Nobody counts once the test is over.
            let _ = self.asked.send(());
            drop(self.lock.lock().expect("a lock"));
            Err(io::ErrorKind::NotFound.into())
        }
    }

    #[test]
    fn threads_that_wait_for_answers_do_not_pile_up() {
        let poll = mio::Poll::new().expect("a poll");
        let mut names = Names::default();
        let (asked, questions_asked) = mpsc::channel();
        let silence = Silence { lock: Arc::default(), asked };
        let held = silence.lock.lock().expect("a lock");
        let mut ask = || {
            let name = Name { id: 0, host: "b.test".into(), port: 80 };
            let questions = Questions { names: vec![name], lookup: silence.clone() };
            names.ask(questions, &Timeouts::default(), poll.registry())
        };
        for _ in 0..THREADS_COUNT_MAX {
            ask().expect("a thread");
            questions_asked.recv_timeout(Duration::from_secs(10)).expect("it asks");
        }
        assert!(ask().is_err());
        drop(held);
        let is_free = (0..1_000_000).any(|_| {
            thread::yield_now();
            ask().is_ok()
        });
        assert!(is_free, "they end");
    }
}
