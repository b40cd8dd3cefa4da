//! A host, what is outside of it, and workloads behind it: threads in network namespaces, joined by veth pairs.

use crate::namespace::run;
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

type Job = Box<dyn FnOnce() + Send>;

/// How long something that should come may take, and how long something that should not is waited for.
const LONG: Duration = Duration::from_secs(3);
const SHORT: Duration = Duration::from_millis(120);

/// A namespace.
pub(super) enum Place {
    /// Of this thread.
    Host,
    /// Of a thread that does what it is told.
    Peer(Sender<Job>),
}

impl Place {
    /// Beside the host; `link` is the host's end of the wire, `eth0` the other.
    pub(super) fn behind(link: &str) -> Self {
        let (jobs, inbox) = channel::<Job>();
        let (tell, told) = channel();
        thread::spawn(move || {
            // SAFETY: takes no pointers; moves only this thread, which ends with the test.
            let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
            // SAFETY: takes nothing.
            let id = unsafe { libc::gettid() };
            tell.send(moved.then_some(id)).expect("the test waits");
            inbox.into_iter().for_each(|job| job());
        });
        let id = told.recv().expect("an answer").expect("a namespace");
        let id = id.to_string();
        let pair = ["link", "add", link, "type", "veth", "peer", "name", "eth0"];
        run("ip", &[&pair[..], &["netns", &id]].concat());
        run("ip", &["link", "set", link, "up"]);
        let place = Self::Peer(jobs);
        place.ip(&["link", "set", "lo", "up"]);
        place.ip(&["link", "set", "eth0", "up"]);
        place
    }

    /// Does something there.
    pub(super) fn there<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Host => what(),
            Self::Peer(_) => self.begin(what).recv().expect("done"),
        }
    }

    /// Begins something at a peer; the answer comes when it is done.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> Receiver<T> {
        let Self::Peer(jobs) = self else {
            panic!("the host does one thing at a time");
        };
        let (tell, told) = channel();
        let job = move || tell.send(what()).expect("the test waits");
        jobs.send(Box::new(job)).expect("the peer lives");
        told
    }

    /// Runs `ip` there.
    pub(super) fn ip(&self, arguments: &[&str]) {
        let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
        self.there(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            run("ip", &arguments);
        });
    }

    /// Writes a setting of the network.
    pub(super) fn set(&self, path: &'static str, value: &'static str) {
        self.there(move || {
            std::fs::write(format!("/proc/sys/net/{path}"), value).expect("a setting");
        });
    }

    /// Whether a datagram arrives. What is not expected is waited for only shortly.
    pub(super) fn receives(&self, from: &Self, packet: Datagram, expected: bool) -> bool {
        let wildcard: IpAddr = if packet.to.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let local = SocketAddr::new(wildcard, packet.arrives_at);
        let receiver = self.there(move || bound(local));
        from.there(move || {
            let sender = UdpSocket::bind(packet.from).expect("the sender's address");
            match sender.send_to(&[packet.says], packet.to) {
                Ok(_) => {}
                Err(err) if err.kind() == ErrorKind::PermissionDenied => {}
                Err(err) => panic!("{packet:?}: {err}"),
            }
        });
        waits(&receiver, expected);
        receiver.recv(&mut [0; 8]).is_ok()
    }

    /// Whether a connection comes about.
    pub(super) fn accepts(&self, from: &Self, to: SocketAddr, expected: bool) -> bool {
        let listener = self.there(move || TcpListener::bind(to).expect("a listener"));
        let wait = if expected { LONG } else { SHORT };
        let connected = from.there(move || TcpStream::connect_timeout(&to, wait).is_ok());
        drop(listener);
        connected
    }
}

/// Something to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// Another port than it was sent to, where it is translated.
    pub(super) arrives_at: u16,
    /// Its one byte.
    pub(super) says: u8,
}

impl Datagram {
    pub(super) fn new(from: &str, to: &str, port: u16) -> Self {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        Self {
            from: SocketAddr::new(address(from), 0),
            to: SocketAddr::new(address(to), port),
            arrives_at: port,
            says: b'?',
        }
    }

    pub(super) const fn saying(mut self, byte: u8) -> Self {
        self.says = byte;
        self
    }

    pub(super) const fn out_of(mut self, port: u16) -> Self {
        self.from.set_port(port);
        self
    }

    pub(super) const fn arrives_at(mut self, port: u16) -> Self {
        self.arrives_at = port;
        self
    }
}

/// Has a socket wait for what should come, or shortly for what should not.
pub(super) fn waits(socket: &UdpSocket, expected: bool) {
    let wait = if expected { LONG } else { SHORT };
    socket.set_read_timeout(Some(wait)).expect("a time-out");
}

/// A socket there. What another test starts holds on to our descriptors for a moment, and so to their ports.
fn bound(local: SocketAddr) -> UdpSocket {
    let deadline = Instant::now() + LONG;
    loop {
        match UdpSocket::bind(local) {
            Ok(socket) => return socket,
            Err(err) if err.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {}
            Err(err) => panic!("{local}: {err}"),
        }
    }
}
