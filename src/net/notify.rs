//! Tells the service manager how things are, where there is one that wants to know (`sd_notify(3)`).
//!
//! Knows nothing of why. Invariant: never waits, and never fails anybody: a manager that does not
//! listen learns nothing.

use std::os::unix::net::UnixDatagram;

use super::sys::monotonic_us;

/// Something that a service manager can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice<'a> {
    /// Clients are served, in these words.
    Ready(&'a str),
    /// The configuration is being read anew; [`Notice::Ready`] follows.
    Reloading,
    /// It is about to end.
    Stopping,
    /// Another process, with this number, is the service from now on.
    MainProcess(u32),
}

/// Tells the manager whose address the environment has.
pub fn notify(notice: Notice<'_>) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let _ = socket.set_nonblocking(true);
    let text = words(notice);
    let sent = match address.to_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => send_to_abstract(&socket, text.as_bytes(), name),
        None => socket.send_to(text.as_bytes(), &address),
    };
    if let Err(error) = sent {
        log::debug!("the service manager cannot be told ({error})");
    }
}

fn words(notice: Notice<'_>) -> String {
    match notice {
        Notice::Ready(status) => format!("READY=1\nSTATUS={status}\n"),
        Notice::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_us()),
        Notice::Stopping => "STOPPING=1\nSTATUS=finishing open requests\n".to_owned(),
        Notice::MainProcess(id) => format!("MAINPID={id}\n"),
    }
}

#[cfg(target_os = "linux")]
fn send_to_abstract(socket: &UnixDatagram, octets: &[u8], name: &str) -> std::io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    socket.send_to_addr(octets, &address)
}

#[cfg(not(target_os = "linux"))]
fn send_to_abstract(_: &UnixDatagram, _: &[u8], _: &str) -> std::io::Result<usize> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_manual() {
        assert_eq!(words(Notice::Ready("serving")), "READY=1\nSTATUS=serving\n");
        assert_eq!(words(Notice::MainProcess(7)), "MAINPID=7\n");
        assert!(words(Notice::Stopping).starts_with("STOPPING=1\n"));
        let reloading = words(Notice::Reloading);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(time.and_then(|text| text.trim_end().parse::<u64>().ok()) > Some(0), "{reloading}");
    }
}
