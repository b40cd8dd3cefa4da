//! A connection that is opened and kept: asked again later whether it still carries data both ways.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::net::{SendFlags, SocketType};

use super::{answer, question, socket, token};
use crate::format::{Name, Open, Protocol};
use crate::sandbox::Sandbox;

/// How long an open connection may take to answer; TCP sends a lost segment again within it.
const PATIENCE: Duration = Duration::from_millis(1500);

/// An open connection; closed on drop.
pub struct Connection {
    socket: OwnedFd,
    peer: String,
    port: u16,
}

impl Connection {
    /// Opens it and exchanges one question and answer.
    ///
    /// # Errors
    ///
    /// Where it does not come about.
    pub fn open(sandbox: &Sandbox, open: &Open) -> Result<Self> {
        let address = sandbox
            .station(&open.to)?
            .address(false)
            .context("the peer has no address")?;
        let to = SocketAddr::new(address, open.port);
        let from = sandbox.station(&open.from)?.namespace();
        let number = socket::number(open.proto);
        let socket = from.run(|| match open.proto {
            Protocol::Named(Name::Udp) => {
                let socket = socket::open(address, SocketType::DGRAM, number)?;
                rustix::net::connect(&socket, &to)?;
                Ok(socket)
            }
            _ => socket::connect(number, None, to, Instant::now() + PATIENCE),
        })?;
        let port = SocketAddr::try_from(rustix::net::getsockname(&socket)?)
            .context("a bound address")?
            .port();
        let connection = Self {
            socket,
            peer: open.to.clone(),
            port,
        };
        if !connection.flows() {
            bail!("{} does not answer on a new connection", open.to);
        }
        Ok(connection)
    }

    /// The source port, by which connection tracking knows it.
    pub fn source_port(&self) -> u16 {
        self.port
    }

    /// True where a question gets through and its answer comes back.
    pub fn flows(&self) -> bool {
        let token = token();
        let wanted = answer(&self.peer, &token);
        let found = |bytes: &[u8]| {
            bytes
                .windows(wanted.len())
                .any(|window| window == wanted.as_bytes())
                .then_some(())
        };
        rustix::net::send(
            &self.socket,
            question(&token).as_bytes(),
            SendFlags::NOSIGNAL,
        )
        .is_ok()
            && matches!(
                socket::receive(&self.socket, Instant::now() + PATIENCE, found),
                Ok(Some(()))
            )
    }
}
