//! A sender and a receiver in namespaces of their own, joined by veth; one thread owns both sockets, so nothing but the
//! kernel runs while packets are sent.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use palisade_integration::netns::{Namespace, conntrack};

use crate::{burst, world::OPEN_PORT};

/// Of the sender.
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Of the receiver.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The receiver owns all of 10.200.0.0/16: every address is another flow.
const FLOWS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
/// Sent by one system call; fits the receiver's buffer.
const WINDOW: u16 = 64;
const WINDOWS: u16 = 16;
/// Flows that connection tracking may remember before it is made to forget.
const REMEMBERED: u16 = 16 * 1024;

/// The way of packets.
pub(super) struct Way {
    receiver: Namespace,
    _sender: Namespace,
    /// Sends new flows.
    sending: UdpSocket,
    /// Both ends of a flow that was answered.
    asking: UdpSocket,
    receiving: UdpSocket,
    next: u16,
}

impl Way {
    /// Lays it out; `rules` are installed at the receiver.
    pub(super) fn open(rules: impl FnOnce(&Namespace) -> Result<()>) -> Result<Self> {
        let mut both = Namespace::create_all(&["sender", "receiver"])?.into_iter();
        let (sender, receiver) = both.next().zip(both.next()).context("two namespaces")?;
        sender.ip(&format!(
            "link add eth0 type veth peer name eth0 netns {}\nlink set eth0 address 02:00:00:00:00:01\n\
             addr add {PEER}/24 dev eth0\nlink set eth0 up\n",
            receiver.name()
        ))?;
        receiver.ip(&format!(
            "link set eth0 address 02:00:00:00:00:02\naddr add {HOST}/24 dev eth0\nlink set eth0 up\n\
             neigh add {PEER} lladdr 02:00:00:00:00:01 dev eth0 nud permanent\n\
             route add local {FLOWS}/16 dev lo\n"
        ))?;
        sender.ip(&format!(
            "neigh add {HOST} lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n\
             route add {FLOWS}/16 via {HOST}\n"
        ))?;
        rules(&receiver)?;
        let bind = |namespace: &Namespace, address, port| -> Result<UdpSocket> {
            let socket = namespace.run(|| UdpSocket::bind((address, port)))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let way = Self {
            sending: bind(&sender, PEER, 0)?,
            asking: bind(&sender, PEER, 0)?,
            receiving: bind(&receiver, Ipv4Addr::UNSPECIFIED, OPEN_PORT)?,
            receiver,
            _sender: sender,
            next: 0,
        };
        way.establish()?;
        Ok(way)
    }

    /// Time per packet that opens a flow.
    pub(super) fn new_flows(&mut self) -> Result<Duration> {
        if self.next >= REMEMBERED {
            let keep = BTreeSet::from([self.asking.local_addr()?.port()]);
            conntrack::forget_except(&self.receiver, &keep)?;
            self.next = 0;
        }
        let mut time = Duration::ZERO;
        for _ in 0..WINDOWS {
            let flow = |n: u16| Ipv4Addr::from_bits(FLOWS.to_bits() + u32::from(self.next + n));
            let to: Vec<Ipv4Addr> = (0..WINDOW).map(flow).collect();
            time += self.window(&self.sending, &to)?;
            self.next += WINDOW;
        }
        Ok(time / u32::from(WINDOW * WINDOWS))
    }

    /// Time per packet of a flow that was answered.
    pub(super) fn established_flow(&self) -> Result<Duration> {
        let mut time = Duration::ZERO;
        for _ in 0..WINDOWS {
            time += self.window(&self.asking, &[HOST; WINDOW as usize])?;
        }
        Ok(time / u32::from(WINDOW * WINDOWS))
    }

    fn establish(&self) -> Result<()> {
        self.window(&self.asking, &[HOST])?;
        self.receiving
            .send_to(b"answer", self.asking.local_addr()?)
            .context("answer")?;
        self.window(&self.asking, &[HOST]).map(drop)
    }

    /// Sends one window and sees it arrive whole.
    fn window(&self, from: &UdpSocket, to: &[Ipv4Addr]) -> Result<Duration> {
        let to: Vec<SocketAddrV4> = to
            .iter()
            .map(|to| SocketAddrV4::new(*to, OPEN_PORT))
            .collect();
        let time = burst::send(from, &to, b"0123456789abcdef")?;
        let arrived = burst::drain(&self.receiving)?;
        ensure!(
            arrived == to.len(),
            "{arrived} of {} packets arrived",
            to.len()
        );
        Ok(time)
    }
}
