//! Streams at full rate, each of which must pass or must not, counted by the kernel of one host before and after the
//! product: none lost, none leaked.
//!
//! Counts packets, not answers. The counting table stands before and after every hook of the product, so a packet that
//! the link drops under load is in neither count. Nobody answers a stream, so that connection tracking calls each of
//! its packets new and each is judged.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::netns::Namespace;
use crate::sandbox::Sandbox;

/// Source port of the first stream, by which the counters know it: translation leaves it alone, and it is below those
/// the kernel hands out.
const FIRST_PORT: u16 = 20_000;
/// Between two packets of a stream: short against the time that any change takes, long enough to leave a processor to
/// those who make the changes.
const APART: Duration = Duration::from_micros(20);
/// Fewer packets of a stream mean nothing.
const ENOUGH: u64 = 1000;

/// Datagrams from one station to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// For people.
    pub name: String,
    /// The station that sends.
    pub from: String,
    /// Where it sends them, before translation.
    pub to: SocketAddr,
    /// What is in each of them.
    pub bytes: Vec<u8>,
    /// Whether each of them must get through; otherwise none may.
    pub passes: bool,
    /// The station and port where they arrive, for a socket that takes them in silence; `None` where something listens.
    pub sink: Option<(String, u16)>,
}

/// Streams under way.
pub struct Load {
    /// The host whose kernel counts.
    host: String,
    streams: Vec<Stream>,
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    began: Instant,
    _sinks: Vec<UdpSocket>,
}

/// What the kernel counted of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Which.
    pub stream: Stream,
    /// Packets before the product.
    pub before: u64,
    /// The same after it.
    pub after: u64,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts(Vec<Counted>);

impl Load {
    /// Begins to count on `host`, then to send.
    ///
    /// # Errors
    ///
    /// Where the host has no nftables, or a station no sockets.
    pub fn start(sandbox: &Sandbox, host: &str, streams: Vec<Stream>) -> Result<Self> {
        Self::every(APART, sandbox, host, streams)
    }

    /// The same without a pause: as much as the machine sends.
    ///
    /// # Errors
    ///
    /// As [`Load::start`].
    pub fn flood(sandbox: &Sandbox, host: &str, streams: Vec<Stream>) -> Result<Self> {
        Self::every(Duration::ZERO, sandbox, host, streams)
    }

    fn every(apart: Duration, sandbox: &Sandbox, host: &str, streams: Vec<Stream>) -> Result<Self> {
        sandbox.station(host)?.namespace().nft(&table(&streams))?;
        let mut sinks = Vec::new();
        for (station, port) in streams.iter().filter_map(|stream| stream.sink.as_ref()) {
            let bound = || UdpSocket::bind(("0.0.0.0", *port));
            sinks.push(
                sandbox
                    .station(station)?
                    .namespace()
                    .run(bound)
                    .with_context(|| format!("a sink on {station} port {port}"))?,
            );
        }
        let sockets = streams
            .iter()
            .zip(FIRST_PORT..)
            .map(|(stream, port)| {
                let station = sandbox.station(&stream.from)?;
                station
                    .namespace()
                    .run(|| {
                        let socket = UdpSocket::bind((unspecified(stream.to), port))?;
                        socket.connect(stream.to)?;
                        socket.set_nonblocking(true)?;
                        std::io::Result::Ok(socket)
                    })
                    .with_context(|| format!("a socket for {}", stream.name))
            })
            .collect::<Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let bytes: Vec<Vec<u8>> = streams.iter().map(|stream| stream.bytes.clone()).collect();
        let send = move || {
            while !told.load(Ordering::Relaxed) {
                // A full queue is no concern of ours: what was not sent is not counted.
                let each = sockets.iter().zip(&bytes);
                each.for_each(|(socket, bytes)| drop(socket.send(bytes)));
                if !apart.is_zero() {
                    std::thread::sleep(apart);
                }
            }
        };
        let sender = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(send)
            .context("start the sender")?;
        Ok(Self {
            host: host.to_owned(),
            streams,
            stop,
            sender: Some(sender),
            began: Instant::now(),
            _sinks: sinks,
        })
    }

    /// What was counted so far. A packet under way is counted before the product, and not yet after it.
    ///
    /// # Errors
    ///
    /// Where the counters cannot be read.
    pub fn so_far(&self, sandbox: &Sandbox) -> Result<Counts> {
        read(sandbox.station(&self.host)?.namespace(), &self.streams)
    }

    /// Stops sending and says what was counted, once the last packet has been.
    ///
    /// # Errors
    ///
    /// Where the counters cannot be read.
    pub fn stop(mut self, sandbox: &Sandbox) -> Result<Counts> {
        self.end();
        let seconds = self.began.elapsed().as_secs_f64();
        let host = sandbox.station(&self.host)?.namespace();
        let mut counts = read(host, &self.streams)?;
        loop {
            crate::pause();
            let again = read(host, &self.streams)?;
            if again == counts {
                println!("{counts}in {seconds:.1} s");
                return Ok(counts);
            }
            counts = again;
        }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Counts {
    /// Packets before and after the product, of the streams that pass or of those that do not.
    pub fn sums(&self, passes: bool) -> (u64, u64) {
        let streams = self
            .0
            .iter()
            .filter(|counted| counted.stream.passes == passes);
        streams.fold((0, 0), |(before, after), counted| {
            (before + counted.before, after + counted.after)
        })
    }

    /// Panics where a packet was lost or leaked, or so few were sent that it means nothing.
    ///
    /// # Panics
    ///
    /// With the counts.
    pub fn expect_none_lost_none_leaked(&self) {
        let wrong: Vec<String> = self
            .0
            .iter()
            .filter_map(|counted| {
                let (before, after) = (counted.before, counted.after);
                let fault = match counted.stream.passes {
                    _ if before < ENOUGH => "too few packets to mean anything",
                    true if before != after => "packets were lost",
                    false if after != 0 => "packets leaked",
                    _ => return None,
                };
                Some(format!("{fault}: {counted}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let must = if self.stream.passes { "pass" } else { "drop" };
        let (name, before, after) = (&self.stream.name, self.before, self.after);
        write!(f, "{name} must {must}: {after} of {before} got through")
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|counted| writeln!(f, "{counted}"))
    }
}

fn unspecified(of: SocketAddr) -> IpAddr {
    match of {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Counters at the first and at the last hooks that a packet meets: one of each, since nothing is sent over loopback.
fn table(streams: &[Stream]) -> String {
    let numbers = || (0..streams.len()).zip(FIRST_PORT..);
    let mut table = "table inet counting {\n".to_owned();
    for place in ["before", "after"] {
        for (number, _) in numbers() {
            table.push_str(&format!("counter {place}{number} {{ }}\n"));
        }
    }
    for (place, hook, priority) in [
        ("before", "prerouting", -500),
        ("before", "output", -500),
        ("after", "input", 500),
        ("after", "postrouting", 500),
    ] {
        let named: Vec<String> = numbers()
            .map(|(number, port)| format!("{port} : \"{place}{number}\""))
            .collect();
        table.push_str(&format!(
            "chain {hook} {{ type filter hook {hook} priority {priority}; policy accept;\n\
             counter name udp sport map {{ {} }}\n}}\n",
            named.join(", ")
        ));
    }
    table + "}\n"
}

fn read(host: &Namespace, streams: &[Stream]) -> Result<Counts> {
    let output = host.output(
        std::process::Command::new("nft")
            .args(["-j", "list", "counters", "table", "inet", "counting"]),
        "",
    )?;
    if !output.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&output.stderr));
    }
    let listing: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("read the counters")?;
    let entries = listing
        .get("nftables")
        .and_then(|entries| entries.as_array())
        .context("a list of counters")?;
    let packets: BTreeMap<&str, u64> = entries
        .iter()
        .filter_map(|entry| entry.get("counter"))
        .filter_map(|counter| {
            Some((
                counter.get("name")?.as_str()?,
                counter.get("packets")?.as_u64()?,
            ))
        })
        .collect();
    let count = |place: &str, number: usize| {
        let name = format!("{place}{number}");
        let found = packets.get(name.as_str()).copied();
        found.with_context(|| format!("no counter {name}"))
    };
    streams
        .iter()
        .enumerate()
        .map(|(number, stream)| {
            Ok(Counted {
                stream: stream.clone(),
                before: count("before", number)?,
                after: count("after", number)?,
            })
        })
        .collect::<Result<_>>()
        .map(Counts)
}
