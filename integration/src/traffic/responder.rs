//! The servers of one station: one thread that polls every socket and answers questions.
//!
//! Datagram sockets are bound to one address each, so that an answer always comes from the address that was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, SocketType};

use super::{answer, asked, craft, sctp, socket};
use crate::format::{Listener, Name, Protocol};
use crate::netns::{Door, Namespace};

/// Tokens of the questions that reached a station.
type Arrivals = Arc<Mutex<BTreeSet<String>>>;

/// The servers of one station; they end on drop.
pub struct Responder {
    door: Door,
    listeners: BTreeSet<Listener>,
    bound: BTreeSet<(IpAddr, Listener)>,
    arrivals: Arrivals,
    commands: Option<Sender<Command>>,
    wake: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
enum Command {
    Add(IpAddr, Listener, Server),
    Remove(IpAddr, Listener),
}

/// One socket the thread polls.
enum Server {
    Listening(OwnedFd),
    Stream(OwnedFd),
    Datagram(OwnedFd),
    /// A raw IPv4 socket, which hands us the header too.
    Raw(OwnedFd),
    /// A raw socket that accepts associations with this port, where the kernel has no sockets for SCTP.
    Association(OwnedFd, u16),
}

impl Responder {
    /// Starts the servers that need no address; [`Responder::listen_on`] adds the others.
    pub(crate) fn start(
        station: &str,
        namespace: &Namespace,
        listeners: BTreeSet<Listener>,
    ) -> Result<Self> {
        let arrivals = Arrivals::default();
        let (commands, inbox) = channel();
        let (wake, bell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map(|(bell, wake)| (wake, bell))?;
        let (name, seen) = (station.to_owned(), Arc::clone(&arrivals));
        // The thread itself stays outside: sockets keep the namespace they were made in.
        let thread = std::thread::Builder::new()
            .name(format!("answers-{station}"))
            .spawn(move || {
                Servers {
                    station: name,
                    seen,
                    servers: BTreeMap::new(),
                    next: 0,
                }
                .serve(&bell, &inbox)
            })
            .context("start the responder")?;
        let (door, bound) = (namespace.door(), BTreeSet::new());
        Ok(Self {
            door,
            listeners,
            bound,
            arrivals,
            commands: Some(commands),
            wake,
            thread: Some(thread),
        })
    }

    /// Listens on these addresses and loopback, and on no others.
    pub(crate) fn listen_on(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<()> {
        let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let own = addresses
            .iter()
            .copied()
            .chain([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        let mut wanted = BTreeSet::new();
        for listener in &self.listeners {
            match listener.proto {
                Protocol::Named(Name::Udp) | Protocol::Number(_) => {
                    wanted.extend(own.clone().map(|address| (address, *listener)));
                }
                Protocol::Named(Name::Sctp) if !socket::kernel_speaks_sctp() => {
                    wanted.extend(own.clone().map(|address| (address, *listener)));
                }
                Protocol::Named(Name::Tcp | Name::Sctp) => wanted.extend([(any, *listener)]),
                // The kernel answers these.
                Protocol::Named(Name::Icmp | Name::Icmp6) => {}
            }
        }
        for &(address, listener) in self.bound.difference(&wanted) {
            self.tell(Command::Remove(address, listener))?;
        }
        for &(address, listener) in wanted.difference(&self.bound) {
            let server = self.door.run(|| bind(address, listener)).with_context(|| {
                format!("listen on {address} {} {}", listener.proto, listener.port)
            })?;
            self.tell(Command::Add(address, listener, server))?;
        }
        self.bound = wanted;
        Ok(())
    }

    /// True where a question with this token has arrived.
    pub(super) fn has_seen(&self, token: &str) -> bool {
        self.arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(token)
    }

    fn tell(&self, command: Command) -> Result<()> {
        self.commands
            .as_ref()
            .context("the responder runs")?
            .send(command)
            .ok()
            .context("the responder runs")?;
        rustix::io::write(&self.wake, &[1])?;
        Ok(())
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = rustix::io::write(&self.wake, &[1]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Server {
    fn socket(&self) -> &OwnedFd {
        match self {
            Self::Listening(fd)
            | Self::Stream(fd)
            | Self::Datagram(fd)
            | Self::Raw(fd)
            | Self::Association(fd, _) => fd,
        }
    }
}

fn bind(address: IpAddr, listener: Listener) -> std::io::Result<Server> {
    let number = socket::number(listener.proto);
    Ok(match listener.proto {
        Protocol::Named(Name::Udp) => {
            let fd = socket::open(address, SocketType::DGRAM, number)?;
            rustix::net::bind(&fd, &SocketAddr::new(address, listener.port))?;
            Server::Datagram(fd)
        }
        Protocol::Number(_) => {
            let fd = socket::open(address, SocketType::RAW, number)?;
            rustix::net::bind(&fd, &SocketAddr::new(address, 0))?;
            if address.is_ipv4() {
                Server::Raw(fd)
            } else {
                Server::Datagram(fd)
            }
        }
        Protocol::Named(Name::Sctp) if !socket::kernel_speaks_sctp() => {
            let fd = socket::open(address, SocketType::RAW, number)?;
            rustix::net::bind(&fd, &SocketAddr::new(address, 0))?;
            Server::Association(fd, listener.port)
        }
        Protocol::Named(_) => Server::Listening(socket::listen(number, listener.port)?),
    })
}

/// What the thread owns.
struct Servers {
    station: String,
    seen: Arrivals,
    servers: BTreeMap<u64, (Option<(IpAddr, Listener)>, Server)>,
    next: u64,
}

impl Servers {
    fn serve(mut self, bell: &OwnedFd, inbox: &Receiver<Command>) {
        loop {
            let mut ready = Vec::new();
            let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
            fds.extend(
                self.servers
                    .values()
                    .map(|(_, server)| PollFd::new(server.socket(), PollFlags::IN)),
            );
            if poll(&mut fds, None).is_err() {
                continue;
            }
            let rung = !fds.first().is_none_or(|fd| fd.revents().is_empty());
            for (fd, id) in fds.iter().skip(1).zip(self.servers.keys()) {
                if !fd.revents().is_empty() {
                    ready.push(*id);
                }
            }
            drop(fds);
            for id in ready {
                self.turn(id);
            }
            if rung && !self.obey(bell, inbox) {
                return;
            }
        }
    }

    /// Does what it was told; false where nobody is left to tell it anything.
    fn obey(&mut self, bell: &OwnedFd, inbox: &Receiver<Command>) -> bool {
        let mut sink = [0; 64];
        let _ = rustix::io::read(bell, &mut sink);
        loop {
            match inbox.try_recv() {
                Ok(Command::Add(address, listener, server)) => {
                    self.add(Some((address, listener)), server)
                }
                Ok(Command::Remove(address, listener)) => {
                    self.servers
                        .retain(|_, (key, _)| *key != Some((address, listener)));
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn add(&mut self, key: Option<(IpAddr, Listener)>, server: Server) {
        self.servers.insert(self.next, (key, server));
        self.next += 1;
    }

    fn turn(&mut self, id: u64) {
        let Some((_, server)) = self.servers.get(&id) else {
            return;
        };
        match server {
            Server::Listening(fd) => {
                if let Ok(stream) = rustix::net::accept(fd) {
                    self.add(None, Server::Stream(stream));
                }
            }
            Server::Stream(fd) => {
                if !self.answer_stream(fd) {
                    self.servers.remove(&id);
                }
            }
            Server::Datagram(fd) => self.answer_datagram(fd, |packet| Some(packet)),
            Server::Raw(fd) => self.answer_datagram(fd, craft::ipv4_payload),
            Server::Association(fd, port) => self.accept(fd, *port),
        }
    }

    /// False where the connection is over.
    fn answer_stream(&self, fd: &OwnedFd) -> bool {
        let mut buffer = [0; 256];
        match rustix::net::recv(fd, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => false,
            Ok((_, length)) => match self.reply_to(buffer.get(..length).unwrap_or_default()) {
                Some(reply) => rustix::net::send(fd, reply.as_bytes(), SendFlags::NOSIGNAL).is_ok(),
                None => true,
            },
            Err(rustix::io::Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    fn answer_datagram(&self, fd: &OwnedFd, payload: impl Fn(&[u8]) -> Option<&[u8]>) {
        let mut buffer = [0; 2048];
        if let Ok((_, length, Some(peer))) =
            rustix::net::recvfrom(fd, &mut buffer, RecvFlags::DONTWAIT)
            && let Some(reply) = buffer
                .get(..length)
                .and_then(payload)
                .and_then(|payload| self.reply_to(payload))
        {
            // A refused answer is the firewall at work.
            let _ = rustix::net::sendto(fd, reply.as_bytes(), SendFlags::empty(), &peer);
        }
    }

    /// Accepts an association that is asked for with this port.
    fn accept(&self, fd: &OwnedFd, port: u16) {
        let mut buffer = [0; 2048];
        let Ok((_, length, Some(peer))) =
            rustix::net::recvfrom(fd, &mut buffer, RecvFlags::DONTWAIT)
        else {
            return;
        };
        // An IPv6 socket hands us no header.
        let packet = buffer.get(..length).unwrap_or_default();
        let packet = craft::ipv4_payload(packet).unwrap_or(packet);
        let Some(greeting) = sctp::asked(packet).filter(|greeting| greeting.to == port) else {
            return;
        };
        if let Some(reply) = self.reply_to(greeting.text) {
            let accepted = sctp::Greeting {
                from: port,
                to: greeting.from,
                tag: 1,
                text: reply.as_bytes(),
            };
            // A refused answer is the firewall at work.
            let accepted = accepted.init_ack(greeting.tag);
            let _ = rustix::net::sendto(fd, &accepted, SendFlags::empty(), &peer);
        }
    }

    fn reply_to(&self, question: &[u8]) -> Option<String> {
        let token = asked(question)?;
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token.to_owned());
        Some(answer(&self.station, token))
    }
}
