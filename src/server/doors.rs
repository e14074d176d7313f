//! Where clients come in: the listening sockets, and who is let in when.
//!
//! A chapter of [`EventLoop`]. Knows nothing of what becomes of a client. Invariants: in one turn so many
//! are let in and no more; those beyond the limit wait in the kernel; a door that is closed has been
//! emptied before, unless somebody else serves it.

use std::io;
use std::time::Instant;

use mio::Interest;

use super::event_loop::{COMPLAINT_INTERVAL, EventLoop};
use super::keeper::desk_name;
use crate::clock::Now;
use crate::config::Address;
use crate::config::limits::BACKLOG_MAX;
use crate::key::{Subject, Token};
use crate::net::handover::name_of_given;
use crate::net::listener::{Accepted, Listener, accept};
use crate::net::tcp::poll_token;

/// A listening socket, and whether somebody may be waiting at it.
#[derive(Debug)]
pub(super) struct Door {
    /// For as long as the process lives.
    pub(super) number: u32,
    /// What was asked for; the port may have been left to the kernel.
    asked: Address,
    pub(super) listener: Listener,
    pub(super) somebody_waits: bool,
}

/// Whether clients are let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    Open,
    /// The descriptors ran out; closed until then.
    Paused(Instant),
}

impl EventLoop {
    /// Awaits clients at another socket, which was asked for in these words.
    ///
    /// # Errors
    /// When the kernel has no room for it in the poll.
    pub fn open_door(&mut self, asked: Address, mut listener: Listener) -> io::Result<()> {
        let number = self.doors_count;
        let token = poll_token(Token::from(Subject::Listener(number)));
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.doors_count += 1;
        self.doors.push(Door { number, asked, listener, somebody_waits: true });
        Ok(())
    }

    /// Awaits clients nowhere but at these addresses any more; who stands at another door is let in first.
    pub fn keep_doors(&mut self, asked: &[Address], now: Now) {
        let kept: Vec<Address> = asked.iter().chain(&self.given).cloned().collect();
        let stays = |door: &Door| kept.contains(&door.asked);
        if !self.doors.iter().all(stays) {
            self.let_in(BACKLOG_MAX.unsigned_abs() as usize, now);
            self.doors.retain(stays);
            self.next_door = 0;
        }
    }

    /// A service manager has opened the sockets of these addresses: they stay, whatever the configuration
    /// says.
    pub fn set_given(&mut self, given: Vec<Address>) {
        self.given = given;
    }

    /// The addresses whose sockets a service manager has opened.
    #[must_use]
    pub fn given(&self) -> &[Address] {
        &self.given
    }

    /// The addresses at which clients are awaited, in the words in which they were asked for.
    #[must_use]
    pub fn asked(&self) -> Vec<Address> {
        self.doors.iter().map(|door| door.asked.clone()).collect()
    }

    /// The addresses at which clients are awaited.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.doors.iter().filter_map(|door| door.listener.address().ok()).collect()
    }

    /// The listening sockets, each under the name by which a successor asks for it.
    pub fn sockets(&self) -> impl Iterator<Item = (String, &Listener)> {
        let name = |door: &Door| match self.given.contains(&door.asked) {
            true => name_of_given(&door.asked),
            false => door.asked.to_string(),
        };
        let doors = self.doors.iter().map(move |door| (name(door), &door.listener));
        let desk = self.desk.iter().map(|desk| (desk_name(desk.asked()), desk.listener()));
        doors.chain(desk)
    }

    /// The files of sockets that a predecessor had are ours to remove from now on.
    pub fn take_files(&mut self) {
        self.doors.iter_mut().for_each(|door| door.listener.take_file());
        self.desk.iter_mut().for_each(|desk| desk.listener_mut().take_file());
    }

    /// Whether somebody may be waiting who can be let in.
    pub(super) fn may_accept(&self, now: Instant) -> bool {
        let is_open = match self.gate {
            Gate::Open => true,
            Gate::Paused(until) => until <= now,
        };
        is_open
            && self.worker.connections().0 < self.clients_count_max
            && self.doors.iter().any(|door| door.somebody_waits)
    }

    /// Accepts clients, at most so many. Those beyond the limit wait in the kernel.
    pub(super) fn let_in(&mut self, count_max: usize, now: Now) {
        let mut left = count_max;
        while left > 0 && self.may_accept(now.instant) {
            self.gate = Gate::Open;
            // In turn, so that a crowd at one door does not block the others.
            self.next_door = (self.next_door + 1) % self.doors.len();
            let Some(door) = self.doors.get_mut(self.next_door) else { return };
            if !door.somebody_waits {
                continue;
            }
            match accept(&door.listener) {
                Accepted::Client(sock, client) => self.worker.accept(sock, client, now),
                Accepted::Nobody => door.somebody_waits = false,
                Accepted::Again => {}
                Accepted::Exhausted(error) => {
                    self.gate = Gate::Paused(now.instant + self.timeouts.accept_pause);
                    if now.instant >= self.complaint_due {
                        self.complaint_due = now.instant + COMPLAINT_INTERVAL;
                        log::error!("no more clients can be accepted for a moment: {error}");
                    }
                }
            }
            left -= 1;
        }
    }
}
