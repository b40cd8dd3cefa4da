//! Sockets as probes and responders need them: made in the namespace of the calling thread, waited for with a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol as Number, RecvFlags, SocketFlags, SocketType, sockopt};

/// A socket of the family of `address`; `number` is the IP protocol.
pub(super) fn open(address: IpAddr, kind: SocketType, number: u8) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let number = NonZeroU32::new(number.into()).map(Number::from_raw);
    Ok(rustix::net::socket_with(
        family,
        kind,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        number,
    )?)
}

/// Whether the kernel has sockets for SCTP. Tracking and filtering it are another matter, and need none.
pub(super) fn kernel_speaks_sctp() -> bool {
    static SPEAKS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *SPEAKS.get_or_init(|| {
        let any = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        open(any, SocketType::STREAM, super::sctp::NUMBER).is_ok()
    })
}

/// A listening stream socket on every address, of both families.
pub(super) fn listen(number: u8, port: u16) -> io::Result<OwnedFd> {
    let any = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port);
    let socket = open(any.ip(), SocketType::STREAM, number)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    rustix::net::bind(&socket, &any)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// A connection, or why there is none. It is reset on close, so that no tuple lingers.
pub(super) fn connect(
    number: u8,
    from: Option<SocketAddr>,
    to: SocketAddr,
    deadline: Instant,
) -> io::Result<OwnedFd> {
    let socket = open(to.ip(), SocketType::STREAM, number)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    if let Some(from) = from {
        rustix::net::bind(&socket, &from)?;
    }
    match rustix::net::connect(&socket, &to) {
        Ok(()) => return Ok(socket),
        Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    if !wait(&socket, PollFlags::OUT, deadline)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    sockopt::socket_error(&socket)??;
    Ok(socket)
}

/// Waits until the socket is ready; false where the deadline came first.
pub(super) fn wait(socket: impl AsFd, what: PollFlags, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(&socket, what)];
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The first received packet that `pick` accepts, or `None` where the deadline came first.
pub(super) fn receive<T>(
    socket: impl AsFd,
    deadline: Instant,
    mut pick: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut buffer = [0; 4096];
    while wait(&socket, PollFlags::IN, deadline)? {
        match rustix::net::recv(&socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Ok(None),
            Ok((_, length)) => {
                if let Some(found) = pick(buffer.get(..length).unwrap_or_default()) {
                    return Ok(Some(found));
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// A duration as poll takes it.
pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// The IP protocol number.
pub(super) fn number(protocol: crate::format::Protocol) -> u8 {
    use crate::format::{Name, Protocol};
    match protocol {
        Protocol::Named(Name::Tcp) => 6,
        Protocol::Named(Name::Udp) => 17,
        Protocol::Named(Name::Sctp) => super::sctp::NUMBER,
        Protocol::Named(Name::Icmp) => 1,
        Protocol::Named(Name::Icmp6) => 58,
        Protocol::Number(number) => number,
    }
}
