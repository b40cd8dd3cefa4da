//! Probes whose packets we write ourselves: for a source the sender does not own, and where only arrival counts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use super::{SENDS, Shot, WINDOW, fresh, unless_refused};
use crate::format::Protocol;
use crate::traffic::{answer, craft, question, socket};

/// IPPROTO_RAW: we write the IP header.
const WITH_HEADER: u8 = 255;

impl Shot<'_> {
    /// A crafted datagram: arrival is seen by the receiver, an answer on the sender's wire.
    pub(super) fn crafted_datagram(&self) -> Result<bool> {
        let source = self.source.context("a crafted packet has a source")?;
        let (payload, sport) = (question(&self.token), self.sport());
        let payload = match self.probe.proto {
            Protocol::Named(_) => craft::datagram(
                source,
                self.target,
                sport,
                self.probe.port,
                payload.as_bytes(),
            ),
            Protocol::Number(_) => payload.into_bytes(),
        };
        let wanted = answer(&self.probe.to, &self.token);
        let wire = self.wire()?;
        self.send_crafted(source, &payload, || {
            if self.probe.one_way {
                let deadline = Instant::now() + WINDOW / SENDS;
                while Instant::now() < deadline && !self.to.responder().has_seen(&self.token) {
                    // The responder has no bell of its own; a quiet wire is a short wait.
                    socket::receive(
                        &wire,
                        (Instant::now() + Duration::from_millis(20)).min(deadline),
                        |_| None::<()>,
                    )?;
                }
                return Ok(self.to.responder().has_seen(&self.token));
            }
            let heard = |bytes: &[u8]| {
                bytes
                    .windows(wanted.len())
                    .any(|window| window == wanted.as_bytes())
                    .then_some(())
            };
            Ok(socket::receive(&wire, Instant::now() + WINDOW / SENDS, heard)?.is_some())
        })
    }

    /// A crafted request for a connection, whose acceptance is seen on the sender's wire.
    pub(super) fn crafted_handshake(&self) -> Result<bool> {
        let source = self.source.context("a crafted packet has a source")?;
        let sport = self.sport();
        let wire = self.wire()?;
        self.send_crafted(
            source,
            &craft::syn(source, self.target, sport, self.probe.port),
            || {
                let heard = socket::receive(&wire, Instant::now() + WINDOW / SENDS, |packet| {
                    let (_, to, number, segment) = craft::parse(packet)?;
                    let flags = segment.get(13)?;
                    (to == source
                        && number == 6
                        && craft::ports(segment)? == (self.probe.port, sport)
                        && flags & 0x12 == 0x12)
                        .then_some(())
                })?;
                Ok(heard.is_some())
            },
        )
    }

    /// A TCP or ICMP packet of which only arrival counts: seen by a raw socket of the receiver, which the kernel feeds
    /// after every input hook.
    pub(super) fn lone_packet(&self) -> Result<bool> {
        if !self.probe.one_way {
            bail!("an answer to a crafted ICMP packet cannot be told from another's");
        }
        let Some(source) = self
            .source
            .or_else(|| self.from.address(self.target.is_ipv6()))
        else {
            bail!("the sender has no address to send from");
        };
        let (sport, id) = (self.sport(), fresh());
        let tcp = self.probe.proto == Protocol::TCP;
        let payload = if tcp {
            craft::syn(source, self.target, sport, self.probe.port)
        } else {
            craft::icmp(
                self.icmp_types().0,
                id,
                self.token.as_bytes(),
                Some((source, self.target)),
            )
        };
        let watch = self
            .to
            .namespace()
            .run(|| socket::open(self.target, SocketType::RAW, self.number()))?;
        self.send_crafted(source, &payload, || {
            let heard = socket::receive(&watch, Instant::now() + WINDOW / SENDS, |bytes| {
                let bytes = if self.target.is_ipv6() {
                    bytes
                } else {
                    craft::ipv4_payload(bytes)?
                };
                let ours = if tcp {
                    craft::ports(bytes)?.0 == sport
                } else {
                    bytes.get(4..6)? == id.to_be_bytes()
                };
                ours.then_some(())
            })?;
            Ok(heard.is_some())
        })
    }

    fn send_crafted(
        &self,
        source: IpAddr,
        payload: &[u8],
        mut arrived: impl FnMut() -> Result<bool>,
    ) -> Result<bool> {
        let packet = craft::packet(source, self.target, self.number(), payload);
        let fd = self
            .from
            .namespace()
            .run(|| socket::open(self.target, SocketType::RAW, WITH_HEADER))?;
        for _ in 0..SENDS {
            let sent = rustix::net::sendto(
                &fd,
                &packet,
                SendFlags::empty(),
                &SocketAddr::new(self.target, 0),
            );
            if unless_refused(sent.map_err(io::Error::from))?.is_some() && arrived()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Everything that passes the sender's interfaces, from the network header on.
    fn wire(&self) -> Result<OwnedFd> {
        let every = std::num::NonZeroU32::new(u32::from(0x0003_u16.to_be()))
            .map(rustix::net::Protocol::from_raw);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open =
            || rustix::net::socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, every);
        self.from
            .namespace()
            .run(open)
            .context("watch the sender's wire")
    }

    fn sport(&self) -> u16 {
        self.probe.sport.unwrap_or_else(|| fresh() | 0x8000)
    }
}
