//! New connections to a protected host: DNS queries over UDP, each from a socket of its own, and their answers.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use palisade_integration::netns::{Namespace, conntrack};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::{burst, hosts::CLIENT};

/// What rules ask about.
pub(super) const PORT: u16 = 53;
/// Opened together: as many as a queue and a socket hold with ease.
pub(super) const TOGETHER: usize = 256;
/// After so long without any, what has not arrived was dropped.
const PATIENCE: Duration = Duration::from_secs(2);
/// Answers come as soon as they are sent.
const ANSWERED: Duration = Duration::from_millis(100);

/// Who asks, from one port each.
pub(super) struct Clients(Vec<UdpSocket>);

/// The same flows again and again, forgotten in between.
pub(super) struct Flows<'a> {
    clients: &'a Clients,
    host: &'a Namespace,
    servers: Vec<(SocketAddrV4, UdpSocket)>,
    query: Vec<u8>,
}

/// What came of opening all flows once.
#[derive(Default)]
pub(super) struct Round {
    /// Time of each burst that was answered whole, for [`TOGETHER`] connections.
    pub(super) bursts: Vec<Duration>,
    /// Of each of these, the time until all queries had arrived.
    pub(super) arrivals: Vec<Duration>,
    /// Queries that were not answered.
    pub(super) lost: usize,
}

impl Clients {
    /// In the namespace of the client.
    pub(super) fn open(client: &Namespace) -> Result<Self> {
        let open = || {
            let socket = UdpSocket::bind((CLIENT, 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let sockets = client.run(|| {
            (0..TOGETHER)
                .map(|_| open())
                .collect::<std::io::Result<_>>()
        });
        Ok(Self(sockets.context("as many sockets")?))
    }
}

impl<'a> Flows<'a> {
    /// To addresses in 10.`net`.0.0/16 that become the host's.
    pub(super) fn open(
        clients: &'a Clients,
        client: &Namespace,
        host: &'a Namespace,
        address: Ipv4Addr,
        net: u8,
    ) -> Result<Self> {
        let base = Ipv4Addr::new(10, net, 0, 0);
        host.ip(&format!("route add local {base}/16 dev lo\n"))?;
        client.ip(&format!("route add {base}/16 via {address}\n"))?;
        let addresses = (1..=4).map(|n| SocketAddrV4::new(Ipv4Addr::new(10, net, 0, n), PORT));
        let servers = addresses.map(|address| {
            let socket = host.run(|| UdpSocket::bind(address))?;
            socket.set_nonblocking(true)?;
            set_socket_recv_buffer_size_force(&socket, 8 << 20).context("a large buffer")?;
            Ok((address, socket))
        });
        Ok(Self {
            clients,
            host,
            servers: servers.collect::<Result<_>>()?,
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
        let Clients(clients) = self.clients;
        for (address, server) in &self.servers {
            burst::drain(server)?;
            for client in clients {
                burst::drain(client)?;
            }
            let began = Instant::now();
            for client in clients {
                client.send_to(&self.query, address).context("ask")?;
            }
            let asked = take(server, TOGETHER, PATIENCE)?;
            let arrived = began.elapsed();
            for who in &asked {
                server.send_to(&self.query, who).context("answer")?;
            }
            let mut answered = 0;
            for client in clients {
                answered += take(client, 1, ANSWERED)?.len();
            }
            if answered == TOGETHER {
                round.bursts.push(began.elapsed());
                round.arrivals.push(arrived);
            }
            round.lost += TOGETHER.saturating_sub(answered);
        }
        Ok(round)
    }
}

/// Who sent what arrives, until so many have, or nothing comes for that long.
fn take(at: &UdpSocket, wanted: usize, patience: Duration) -> Result<Vec<SocketAddr>> {
    let patience = Timespec::try_from(patience).context("a patience")?;
    let mut buffer = [0; 64];
    let mut from = Vec::with_capacity(wanted);
    while from.len() < wanted {
        match at.recv_from(&mut buffer) {
            Ok((_, sender)) => from.push(sender),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(at, PollFlags::IN)], Some(&patience)) {
                    Ok(0) => break,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error).context("wait for packets"),
                }
            }
            Err(error) => return Err(error).context("receive"),
        }
    }
    Ok(from)
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
