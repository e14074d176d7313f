//! What clients and backends have in common: an end of a wire, and a list of things to do on it.

use std::{collections::VecDeque, rc::Rc, time::Duration};

#[cfg(feature = "tls")]
use super::tls::TlsEnd;
use super::{
    rng::Rng,
    wire::{End, Shared, Wire},
};

/// An end of a wire, with TLS or without.
pub(crate) struct Channel {
    pub(crate) wire: Shared<Wire>,
    #[cfg(feature = "tls")]
    tls: Option<Box<TlsEnd>>,
    reading: bool,
}

impl Channel {
    pub(crate) fn plain(wire: &Shared<Wire>) -> Self {
        Self {
            wire: Rc::clone(wire),
            #[cfg(feature = "tls")]
            tls: None,
            reading: true,
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(mut self, tls: TlsEnd) -> Self {
        self.tls = Some(Box::new(tls));
        self
    }

    pub(crate) fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    pub(crate) fn room(&self) -> usize {
        self.wire.borrow().peer_room()
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.send(octets, &mut self.wire.borrow_mut());
        }
        self.wire.borrow_mut().peer_send(octets);
    }

    /// Reads about so many octets, if there are any: `None` where there was nothing to do. With TLS
    /// the plaintext may be empty.
    pub(crate) fn read(&mut self, grain: usize) -> Result<Option<Vec<u8>>, String> {
        let mut wire = self.wire.borrow_mut();
        let count = grain.min(wire.peer_unread());
        if count == 0 || !self.reading || wire.peer_closed {
            return Ok(None);
        }
        let octets = wire.peer_take(count);
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.receive(&octets, &mut wire).map(Some);
        }
        Ok(Some(octets))
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reading
    }

    pub(crate) fn stop_reading(&mut self) {
        self.reading = false;
    }

    /// How roundel's direction has ended. Who does not read only learns of it when roundel is gone.
    pub(crate) fn sees_end(&self) -> End {
        let wire = self.wire.borrow();
        // TLS has its own end, which may come without that of TCP.
        #[cfg(feature = "tls")]
        let ended = self.tls.as_ref().is_some_and(|tls| tls.ended);
        #[cfg(not(feature = "tls"))]
        let ended = false;
        match wire.peer_sees_end() {
            End::Open if ended => End::Fin,
            End::Open if wire.gone && !self.reading => End::Fin,
            end => end,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.wire.borrow().peer_closed
    }

    pub(crate) fn fin(&mut self) {
        self.say_goodbye();
        self.wire.borrow_mut().peer_fin();
    }

    pub(crate) fn close(&mut self) {
        self.say_goodbye();
        self.wire.borrow_mut().peer_close();
    }

    /// Breaks off. With TLS that may as well be an end of TCP inside of it.
    pub(crate) fn reset(&self, rng: &mut Rng) {
        let mut wire = self.wire.borrow_mut();
        if self.is_tls() && rng.percent(50) {
            wire.peer_close();
        } else {
            wire.peer_reset();
        }
    }

    fn say_goodbye(&mut self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye(&mut self.wire.borrow_mut());
        }
    }
}

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// The second part arrives together with the last octet of the first.
    SendGlued(Vec<u8>, Vec<u8>),
    Await(Until),
    /// Not longer than so many milliseconds.
    AwaitAtMost(Until, u64),
    Fin,
    Close,
    Reset,
    StopReading,
}

/// What is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// The end of roundel's direction.
    End,
    /// So many final answers.
    Finals(usize),
    /// An interim answer to the request with this place, or its final one.
    Told(usize),
    /// So many octets of answers, or all answers.
    Received(usize),
    /// So many octets of a request body, or all of it.
    Body(usize),
    /// A whole request.
    Whole,
}

/// The things that a peer is about to do, in order.
#[derive(Default)]
pub(crate) struct Pen {
    pub(crate) steps: VecDeque<Step>,
    /// How far the first of them has come.
    done: usize,
    /// When waiting is over.
    pub(crate) wake: Option<Duration>,
    /// Octets sent so far.
    pub(crate) sent: u64,
}

impl Pen {
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.done = 0;
        self.wake = None;
    }

    /// Whether the 101 of a tunnel has not been sent completely.
    pub(crate) fn is_before_switch(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::SendGlued(..)))
    }

    /// Whether nothing is left to do but to await this.
    pub(crate) fn is_only(&self, awaited: Until) -> bool {
        let mut steps = self.steps.iter();
        matches!(steps.next(), Some(Step::Await(until)) if *until == awaited)
            && steps.next().is_none()
    }

    fn pop(&mut self) {
        self.steps.pop_front();
        self.done = 0;
        self.wake = None;
    }

    /// Does the next thing, or a part of it; says whether that was possible.
    pub(crate) fn act(
        &mut self,
        channel: &mut Channel,
        met: impl Fn(Until) -> bool,
        now: Duration,
        grain: usize,
        rng: &mut Rng,
    ) -> bool {
        let Some(step) = self.steps.front() else {
            return false;
        };
        if channel.is_closed() {
            self.clear();
            return true;
        }
        match step {
            Step::Send(octets) => {
                let count = grain.min(channel.room()).min(octets.len() - self.done);
                if count == 0 && self.done < octets.len() {
                    return false;
                }
                if count > 0 {
                    channel.send(&octets[self.done..self.done + count]);
                }
                self.done += count;
                self.sent += count as u64;
                if self.done == octets.len() {
                    self.pop();
                }
            }
            Step::SendGlued(first, second) => {
                let (last, front) = first.split_last().expect("an answer has octets");
                let left = front.len() - self.done;
                let count = grain.min(channel.room()).min(left);
                if count == 0 && left > 0 {
                    return false;
                }
                if left > 0 {
                    channel.send(&front[self.done..self.done + count]);
                    self.done += count;
                } else {
                    let together = [&[*last], second.as_slice()].concat();
                    channel.send(&together);
                    let behind = second.len();
                    channel.wire.borrow_mut().glue(behind);
                    self.pop();
                }
            }
            Step::Await(until) => {
                if !met(*until) {
                    return false;
                }
                self.pop();
            }
            Step::AwaitAtMost(until, ms) => {
                let over = *self.wake.get_or_insert(now + Duration::from_millis(*ms));
                if !met(*until) && now < over {
                    return false;
                }
                self.pop();
            }
            Step::Fin => {
                channel.fin();
                self.pop();
            }
            Step::Close => {
                channel.close();
                self.clear();
            }
            Step::Reset => {
                channel.reset(rng);
                self.clear();
            }
            Step::StopReading => {
                channel.stop_reading();
                self.pop();
            }
        }
        true
    }
}

/// How long a slow peer is silent: less than roundel waits, but twice it is more.
const PAUSE_MS: u64 = 40_000;

/// Sends these octets in parts, with so many pauses in between.
pub(crate) fn with_pauses(octets: &[u8], pauses: usize) -> Vec<Step> {
    let part = octets.len().div_ceil(pauses + 1).max(1);
    let mut steps = Vec::new();
    for part in octets.chunks(part) {
        if !steps.is_empty() {
            steps.push(Step::AwaitAtMost(Until::End, PAUSE_MS));
        }
        steps.push(Step::Send(part.to_vec()));
    }
    steps
}
