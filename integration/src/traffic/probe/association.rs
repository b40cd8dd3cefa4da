//! Probes of SCTP where the kernel has no sockets for it: an association is asked for by raw packets.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Result;
use rustix::net::{SendFlags, SocketType};

use super::{SENDS, Shot, WINDOW, fresh, unless_refused};
use crate::traffic::{answer, craft, question, sctp, socket};

impl Shot<'_> {
    /// Asks, and hears the right station accept.
    pub(super) fn association(&self) -> Result<bool> {
        let fd = self.from.namespace().run(|| {
            let fd = socket::open(self.target, SocketType::RAW, sctp::NUMBER)?;
            if let Some(source) = self.source {
                rustix::net::bind(&fd, &SocketAddr::new(source, 0))?;
            }
            Ok::<_, io::Error>(fd)
        })?;
        let (asked, wanted) = (question(&self.token), answer(&self.probe.to, &self.token));
        let greeting = sctp::Greeting {
            from: self.probe.sport.unwrap_or_else(|| fresh() | 0x8000),
            to: self.probe.port,
            tag: u32::from(fresh()) + 1,
            text: asked.as_bytes(),
        };
        let init = greeting.init();
        for _ in 0..SENDS {
            let sent = rustix::net::sendto(
                &fd,
                &init,
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
                let accepted = sctp::accepted(bytes)?;
                (accepted.to == greeting.from && accepted.text == wanted.as_bytes()).then_some(())
            });
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
}
