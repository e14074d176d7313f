//! Octets that go through a pipe, on real sockets: what a read and a send would have done comes out.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test: a panic is how it reports, threads and blocking sockets are its means"
)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
};

use roundel::net::{
    Scratch,
    latch::Readiness,
    link::{Link, Sent},
    splice::{Pipes, Spliced, splice},
    stream::Stream,
};

type Sockets = (Link<Stream>, TcpStream);

/// Over which kind of sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tcp,
    Unix,
}

/// A source and a sink of each kind.
const KINDS: [(Kind, Kind); 4] = [
    (Kind::Tcp, Kind::Tcp),
    (Kind::Tcp, Kind::Unix),
    (Kind::Unix, Kind::Tcp),
    (Kind::Unix, Kind::Unix),
];

/// A connection: our end, and the other, which for std is a stream socket by any name.
fn connection(kind: Kind) -> Sockets {
    let (near, far): (Stream, TcpStream) = match kind {
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let address = listener.local_addr().expect("an address");
            let far = TcpStream::connect(address).expect("a connection");
            let (near, _) = listener.accept().expect("a client");
            near.set_nonblocking(true).expect("set");
            (mio::net::TcpStream::from_std(near).into(), far)
        }
        Kind::Unix => {
            let (near, far) = UnixStream::pair().expect("a pair");
            near.set_nonblocking(true).expect("set");
            (mio::net::UnixStream::from_std(near).into(), OwnedFd::from(far).into())
        }
    };
    let mut link = Link::plain(near);
    link.on_event(Readiness::READABLE.and(Readiness::WRITABLE));
    (link, far)
}

/// Lets the kernel carry octets over.
fn until_moved(source: &mut Link<Stream>, sink: &mut Link<Stream>, pipes: &mut Pipes) -> Spliced {
    loop {
        source.on_event(Readiness::READABLE);
        match splice(source, sink, 1000, pipes) {
            Spliced::Blocked => thread::yield_now(),
            other => return other,
        }
    }
}

#[test]
fn octets_and_the_end_pass() {
    for (from, to) in KINDS {
        octets_and_the_end_pass_over(connection(from), connection(to));
    }
}

fn octets_and_the_end_pass_over(
    (mut source, mut far_source): Sockets,
    (mut sink, mut far_sink): Sockets,
) {
    let mut pipes = Pipes::new(1);
    assert_eq!(splice(&mut source, &mut sink, 1000, &mut pipes), Spliced::Blocked);
    assert!(!source.is_readable(), "an event will tell");
    far_source.write_all(b"hello").expect("written");
    assert_eq!(until_moved(&mut source, &mut sink, &mut pipes), Spliced::Moved(5, Sent::All));
    let mut octets = [0; 5];
    far_sink.read_exact(&mut octets).expect("read");
    assert_eq!(&octets, b"hello");
    drop(far_source);
    assert_eq!(until_moved(&mut source, &mut sink, &mut pipes), Spliced::Closed);
    assert_eq!(pipes.count(), 1, "the one that is kept");
}

#[test]
fn what_is_refused_waits_in_its_pipe_and_goes_first() {
    for (from, to) in KINDS {
        what_is_refused_waits(connection(from), connection(to));
    }
}

fn what_is_refused_waits((mut source, mut far_source): Sockets, (mut sink, mut far_sink): Sockets) {
    let mut pipes = Pipes::new(1);
    let mut sent = 0;
    // Until the sink is full.
    loop {
        far_source.write_all(&[b'x'; 1000]).expect("written");
        match until_moved(&mut source, &mut sink, &mut pipes) {
            Spliced::Moved(octets, waiting) => {
                sent += octets;
                if waiting == Sent::Waiting {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(sink.is_clogged() && !sink.is_writable());
    let (mut other, mut far_other) = connection(Kind::Tcp);
    far_other.write_all(b"another").expect("written");
    other.on_event(Readiness::READABLE);
    let (mut free, _far_free) = connection(Kind::Unix);
    assert_eq!(splice(&mut other, &mut free, 1000, &mut pipes), Spliced::Unsuitable);
    assert_eq!(splice(&mut source, &mut sink, 1000, &mut pipes), Spliced::Unsuitable);
    let mut tls = Scratch::default().tls;
    // It waits, unless the kernel has found more room by now, as it may at any time.
    sink.send(b"the end", &mut tls).expect("the peer is there");

    let reader = thread::spawn(move || {
        let mut octets = Vec::new();
        far_sink.read_to_end(&mut octets).map(|_| octets)
    });
    while sink.is_clogged() {
        sink.on_event(Readiness::WRITABLE);
        sink.flush().expect("the peer is there");
    }
    assert_eq!(pipes.count(), 0, "it went with what it held");
    drop(sink);
    let octets = reader.join().expect("no panic").expect("read");
    assert_eq!(octets.len(), sent + 7);
    assert!(octets.ends_with(b"xthe end"), "in order");
}

#[test]
fn without_pipes_everything_is_read() {
    let (mut source, mut far_source) = connection(Kind::Unix);
    let (mut sink, _far_sink) = connection(Kind::Tcp);
    far_source.write_all(b"hello").expect("written");
    source.on_event(Readiness::READABLE);
    assert_eq!(splice(&mut source, &mut sink, 9, &mut Pipes::new(0)), Spliced::Unsuitable);
}

/// Where nobody knows how much is still to come, as in a tunnel.
#[test]
fn as_much_as_there_is_may_be_asked_for() {
    let ((mut source, mut far_source), (mut sink, mut far_sink)) =
        (connection(Kind::Tcp), connection(Kind::Tcp));
    let mut pipes = Pipes::new(1);
    far_source.write_all(b"hello").expect("written");
    let spliced = loop {
        source.on_event(Readiness::READABLE);
        match splice(&mut source, &mut sink, usize::MAX, &mut pipes) {
            Spliced::Blocked => thread::yield_now(),
            other => break other,
        }
    };
    assert_eq!(spliced, Spliced::Moved(5, Sent::All));
    let mut octets = [0; 5];
    far_sink.read_exact(&mut octets).expect("read");
    assert_eq!(&octets, b"hello");
}
