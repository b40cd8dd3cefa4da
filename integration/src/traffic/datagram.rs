//! Single datagrams that nobody answers: sent by one station, heard at another or not. And questions to a name server.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sandbox::Station;

/// A question for the address of a name. No two have the same bytes until sixteen bits are used up.
pub fn query(name: &str) -> Vec<u8> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // One question, recursion desired.
    let mut bytes = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.extend(u8::try_from(label.len()));
        bytes.extend(label.as_bytes());
    }
    // The root; type A, class IN.
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// A station's sockets of one UDP port, one of each family.
pub struct Port {
    sockets: [UdpSocket; 2],
    addresses: [SocketAddr; 2],
}

impl Port {
    /// Opens the port; 0 is any.
    ///
    /// # Errors
    ///
    /// Where somebody has it, or the station has no address of a family.
    pub fn open(station: &Station, port: u16) -> Result<Self> {
        let open = |ipv6: bool| {
            let address = station.address(ipv6).context("an address")?;
            let socket = station.namespace().run(|| UdpSocket::bind((address, port)));
            let socket = socket.with_context(|| format!("open UDP port {port}"))?;
            socket.set_nonblocking(true).context("set the socket")?;
            let port = socket.local_addr().context("the socket's port")?.port();
            anyhow::Ok((socket, SocketAddr::new(address, port)))
        };
        let ((four, four_at), (six, six_at)) = (open(false)?, open(true)?);
        Ok(Self {
            sockets: [four, six],
            addresses: [four_at, six_at],
        })
    }

    /// Where others reach it.
    pub fn address(&self, ipv6: bool) -> SocketAddr {
        self.addresses[usize::from(ipv6)]
    }

    /// Sends one datagram to another station's port, in the family asked for. One that our own kernel drops is sent
    /// all the same.
    ///
    /// # Errors
    ///
    /// Where the socket fails.
    pub fn send(&self, to: &Self, ipv6: bool, bytes: &[u8]) -> Result<()> {
        match self.sockets[usize::from(ipv6)].send_to(bytes, to.address(ipv6)) {
            Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
                Err(error).context("send a datagram")
            }
            _ => Ok(()),
        }
    }

    /// What comes within that time, or until everything in `wanted` has.
    ///
    /// # Errors
    ///
    /// Where waiting fails.
    pub fn hear(
        &self,
        wanted: &BTreeSet<Vec<u8>>,
        patience: Duration,
    ) -> Result<BTreeSet<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let mut heard = BTreeSet::new();
        let mut bytes = [0; 2048];
        loop {
            for socket in &self.sockets {
                while let Ok(length) = socket.recv(&mut bytes) {
                    heard.extend(bytes.get(..length).map(<[u8]>::to_vec));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || (!wanted.is_empty() && wanted.is_subset(&heard)) {
                return Ok(heard);
            }
            let mut ready = self
                .sockets
                .each_ref()
                .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
            let timeout = Timespec::try_from(left).context("a patience")?;
            poll(&mut ready, Some(&timeout)).context("wait for datagrams")?;
        }
    }
}
