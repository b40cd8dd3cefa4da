//! One probe: a fresh packet or connection, and whether it got there and back.
//!
//! Judges nothing: what should have happened is compared by the caller, with [`observe`] as the loop around it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::{SendFlags, SocketType};

use super::{answer, craft, question, socket, token};
use crate::format::{Name, Probe, Protocol};
use crate::sandbox::{Sandbox, Station};

mod association;
mod crafted;

/// How long an answer may take; what takes longer did not arrive.
const WINDOW: Duration = Duration::from_millis(700);
/// How often a packet that nothing retransmits is sent within the window.
const SENDS: u32 = 3;
/// How long a probe is repeated until it gives the expected result.
const PATIENCE: Duration = Duration::from_secs(10);

/// A probe with every address known.
struct Shot<'a> {
    probe: &'a Probe,
    from: &'a Station,
    to: &'a Station,
    source: Option<IpAddr>,
    target: IpAddr,
    token: String,
}

/// Sends the probe until it gives the expected result, then once more; false where it never gave it twice in a row.
/// Connections from the ports in `keep` are never forgotten.
///
/// # Errors
///
/// Where the probe cannot be sent at all.
pub fn observe(sandbox: &Sandbox, probe: &Probe, keep: &BTreeSet<u16>) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let mut streak = 0;
    loop {
        if probe.reuses_a_tuple() {
            sandbox.forget_connections(keep)?;
        }
        streak = if attempt(sandbox, probe)? == probe.allow {
            streak + 1
        } else {
            0
        };
        if streak == 2 {
            return Ok(true);
        }
        if streak == 0 && Instant::now() > deadline {
            return Ok(false);
        }
        crate::pause();
    }
}

/// Observes every probe as [`observe`] does, side by side where they cannot disturb each other; results in order.
///
/// # Errors
///
/// Where a probe cannot be sent at all.
pub fn observe_all(sandbox: &Sandbox, probes: &[Probe], keep: &BTreeSet<u16>) -> Result<Vec<bool>> {
    let mut results: Vec<Option<Result<bool>>> = std::thread::scope(|scope| {
        let running: Vec<_> = probes
            .iter()
            .map(|probe| {
                (!probe.reuses_a_tuple()).then(|| scope.spawn(|| observe(sandbox, probe, keep)))
            })
            .collect();
        running
            .into_iter()
            .map(|thread| {
                thread.map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
            })
            .collect()
    });
    for (probe, result) in probes.iter().zip(&mut results) {
        if result.is_none() {
            *result = Some(observe(sandbox, probe, keep));
        }
    }
    results.into_iter().flatten().collect()
}

/// Sends the probe once: true where it arrived and, unless one way, was answered.
///
/// # Errors
///
/// Where the probe cannot be sent at all.
pub fn attempt(sandbox: &Sandbox, probe: &Probe) -> Result<bool> {
    let (from, to) = (sandbox.station(&probe.from)?, sandbox.station(&probe.to)?);
    let target = match probe.to_address {
        Some(address) => address,
        None => to
            .address(probe.is_ipv6())
            .with_context(|| format!("`{}` has no such address", probe.to))?,
    };
    let shot = Shot {
        probe,
        from,
        to,
        source: probe.from_address,
        target,
        token: token(),
    };
    let crafted = shot.source.is_some_and(|source| !from.owns(source));
    match (probe.proto, probe.one_way) {
        (Protocol::Named(Name::Tcp), false) if crafted => shot.crafted_handshake(),
        (Protocol::Named(Name::Tcp), true) => shot.lone_packet(),
        (Protocol::Named(Name::Sctp), _) if !socket::kernel_speaks_sctp() => shot.association(),
        (Protocol::Named(Name::Tcp | Name::Sctp), _) => shot.conversation(),
        (Protocol::Named(Name::Icmp | Name::Icmp6), false) if !crafted => shot.ping(),
        (Protocol::Named(Name::Icmp | Name::Icmp6), _) => shot.lone_packet(),
        (Protocol::Named(Name::Udp) | Protocol::Number(_), _) if crafted => shot.crafted_datagram(),
        (Protocol::Named(Name::Udp) | Protocol::Number(_), _) => shot.datagram(),
    }
    .with_context(|| format!("probe {probe}"))
}

impl Shot<'_> {
    fn number(&self) -> u8 {
        socket::number(self.probe.proto)
    }

    /// The source to bind to, where one is asked for.
    fn bound(&self) -> Option<SocketAddr> {
        let any = if self.target.is_ipv6() {
            IpAddr::from([0; 16])
        } else {
            IpAddr::from([0; 4])
        };
        (self.source.is_some() || self.probe.sport.is_some())
            .then(|| SocketAddr::new(self.source.unwrap_or(any), self.probe.sport.unwrap_or(0)))
    }

    /// Connects, asks, and hears the right station answer.
    fn conversation(&self) -> Result<bool> {
        let deadline = Instant::now() + WINDOW;
        let to = SocketAddr::new(self.target, self.probe.port);
        let connected = self
            .from
            .namespace()
            .run(|| socket::connect(self.number(), self.bound(), to, deadline));
        let Some(fd) = unless_refused(connected)? else {
            return Ok(false);
        };
        self.ask(&fd, 1)
    }

    fn datagram(&self) -> Result<bool> {
        let kind = if self.probe.proto.is_portless() {
            SocketType::RAW
        } else {
            SocketType::DGRAM
        };
        let port = if self.probe.proto.is_portless() {
            0
        } else {
            self.probe.port
        };
        let opened = self.from.namespace().run(|| {
            let fd = socket::open(self.target, kind, self.number())?;
            if let Some(bound) = self.bound() {
                rustix::net::sockopt::set_socket_reuseaddr(&fd, true)?;
                rustix::net::bind(&fd, &bound)?;
            }
            rustix::net::connect(&fd, &SocketAddr::new(self.target, port))?;
            Ok(fd)
        });
        match unless_refused(opened)? {
            Some(fd) => self.ask(&fd, SENDS),
            None => Ok(false),
        }
    }

    /// Sends the question up to `sends` times and waits for its answer, or its arrival.
    fn ask(&self, fd: &OwnedFd, sends: u32) -> Result<bool> {
        let wanted = answer(&self.probe.to, &self.token);
        // Raw IPv4 sockets hand us the header before the payload, so the answer is looked for anywhere.
        let found = |bytes: &[u8]| {
            bytes
                .windows(wanted.len())
                .any(|window| window == wanted.as_bytes())
                .then_some(())
        };
        for _ in 0..sends {
            let sent = rustix::net::send(fd, question(&self.token).as_bytes(), SendFlags::NOSIGNAL);
            if unless_refused(sent.map_err(io::Error::from))?.is_none() {
                return Ok(false);
            }
            let heard = socket::receive(fd, Instant::now() + WINDOW / sends, found);
            if self.probe.one_way && self.to.responder().has_seen(&self.token) {
                return Ok(true);
            }
            match unless_refused(heard)? {
                Some(Some(())) => return Ok(true),
                Some(None) => {}
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    fn ping(&self) -> Result<bool> {
        let id = fresh();
        let (request, reply) = self.icmp_types();
        let fd = self.from.namespace().run(|| {
            let fd = socket::open(self.target, SocketType::RAW, self.number())?;
            if let Some(bound) = self.bound() {
                rustix::net::bind(&fd, &bound)?;
            }
            Ok::<_, io::Error>(fd)
        })?;
        // The kernel fills in the checksum of ICMPv6.
        let message = craft::icmp(request, id, self.token.as_bytes(), None);
        for _ in 0..SENDS {
            let sent = rustix::net::sendto(
                &fd,
                &message,
                SendFlags::empty(),
                &SocketAddr::new(self.target, 0),
            );
            if unless_refused(sent.map_err(io::Error::from))?.is_none() {
                return Ok(false);
            }
            let heard = socket::receive(&fd, Instant::now() + WINDOW / SENDS, |bytes| {
                let bytes = if self.target.is_ipv6() {
                    bytes
                } else {
                    craft::ipv4_payload(bytes)?
                };
                (bytes.first() == Some(&reply) && bytes.get(4..6)? == id.to_be_bytes())
                    .then_some(())
            })?;
            if heard.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn icmp_types(&self) -> (u8, u8) {
        match self.probe.icmp_type {
            Some(13) => (13, 14),
            _ if self.target.is_ipv6() => (128, 129),
            _ => (8, 0),
        }
    }
}

/// `None` where the network or a firewall said no; other errors stay errors.
fn unless_refused<T>(result: io::Result<T>) -> Result<Option<T>> {
    use rustix::io::Errno;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let refusal = Errno::from_io_error(&error).is_some_and(|errno| {
                [
                    Errno::CONNREFUSED,
                    Errno::CONNRESET,
                    Errno::HOSTUNREACH,
                    Errno::NETUNREACH,
                    Errno::ACCESS,
                    Errno::PERM,
                    Errno::PIPE,
                    Errno::PROTO,
                    Errno::NOPROTOOPT,
                    Errno::TIMEDOUT,
                ]
                .contains(&errno)
            });
            if refusal || error.kind() == io::ErrorKind::TimedOut {
                Ok(None)
            } else {
                Err(error.into())
            }
        }
    }
}

/// An id or port nothing else uses at the moment.
fn fresh() -> u16 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    u16::try_from(random & 0xffff).expect("masked to sixteen bits")
}
