//! New connections to a protected host: DNS queries over UDP, each from one socket to another address of the host.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use palisade_integration::netns::{Namespace, conntrack};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::CLIENT;
use crate::burst;

/// What rules ask about.
pub(super) const PORT: u16 = 53;
/// Opened together: as many as a queue and both sockets hold with ease.
pub(super) const TOGETHER: usize = 256;
const BURSTS: usize = 4;
/// After so long without any, what has not arrived was dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same flows again and again, forgotten in between.
pub(super) struct Flows<'a> {
    host: &'a Namespace,
    sending: UdpSocket,
    receiving: UdpSocket,
    to: Vec<SocketAddrV4>,
    query: Vec<u8>,
}

/// What came of opening all flows once.
#[derive(Default)]
pub(super) struct Round {
    /// Time of each burst that arrived whole, for [`TOGETHER`] connections.
    pub(super) bursts: Vec<Duration>,
    /// Packets that did not arrive.
    pub(super) lost: usize,
}

impl<'a> Flows<'a> {
    /// From the client to the host's address and to 10.`net`.0.0/16, all of which becomes the host's.
    pub(super) fn open(
        client: &Namespace,
        host: &'a Namespace,
        address: Ipv4Addr,
        net: u8,
    ) -> Result<Self> {
        let base = Ipv4Addr::new(10, net, 0, 0);
        host.ip(&format!("route add local {base}/16 dev lo\n"))?;
        client.ip(&format!("route add {base}/16 via {address}\n"))?;
        let sending = client.run(|| UdpSocket::bind((CLIENT, 0)))?;
        let receiving = host.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
        receiving.set_nonblocking(true)?;
        set_socket_recv_buffer_size_force(&receiving, 8 << 20).context("a large buffer")?;
        let to = (1..).take(TOGETHER * BURSTS);
        let to = to.map(|n| SocketAddrV4::new(Ipv4Addr::from_bits(base.to_bits() + n), PORT));
        Ok(Self {
            host,
            sending,
            receiving,
            to: to.collect(),
            query: query("www.fine.example"),
        })
    }

    /// Where they go.
    pub(super) fn host(&self) -> &Namespace {
        self.host
    }

    /// Opens all of them, each of which is new.
    pub(super) fn round(&self) -> Result<Round> {
        conntrack::forget_except(self.host, &BTreeSet::new())?;
        let mut round = Round::default();
        for to in self.to.chunks(TOGETHER) {
            burst::drain(&self.receiving)?;
            let began = Instant::now();
            burst::send(&self.sending, to, &self.query)?;
            let arrived = burst::take(&self.receiving, to.len(), PATIENCE)?;
            let time = began.elapsed();
            if arrived == to.len() {
                round.bursts.push(time);
            } else {
                round.lost += to.len().saturating_sub(arrived);
            }
        }
        Ok(round)
    }
}

/// A query for the address of a name.
fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.extend(u8::try_from(label.len()));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}
