//! Events a second: denied packets at full flood, logged by the kernel, read by auditors; none unaccounted for.

use std::collections::BTreeSet;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use palisade_integration::format::Topology;
use palisade_integration::netns::Namespace;
use palisade_integration::product::{Binaries, Deployment};
use palisade_integration::sandbox::Sandbox;
use palisade_netfilter::nflog::Log;
use palisade_ruleset::plugins::AUDIT_GROUP;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::json;

use super::{metrics, push, wait_until_active};
use crate::{
    Effort, burst,
    figures::Figures,
    hosts::{CLIENT, HOST, TOPOLOGY},
    table::Table,
};

/// That no policy allows.
const PORT: u16 = 9001;
/// Packets of one system call.
const TOGETHER: usize = 64;
/// Of a flood, before it is measured.
const RUN_UP: Duration = Duration::from_millis(300);
/// How long a flood is measured.
const MEASURED: Duration = Duration::from_secs(2);
/// All that was logged has been read where nothing comes for so long, though not all is accounted for.
const QUIET: Duration = Duration::from_secs(3);
/// Between two looks. The kernel holds packets back for a tenth of a second.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// What the kernel does for every row: it counts, before all else.
const COUNTING: &str =
    "table inet counting { chain before { type filter hook prerouting priority -500; policy accept;
    udp dport 9001 counter
}
}
";

/// As the product logs and denies.
const BY_HAND: &str =
    "table inet hand { chain input { type filter hook input priority 0; policy accept;
    udp dport 9001 log prefix \"00000000000000ff\" group 7600 snaplen 96 queue-threshold 64
    udp dport 9001 drop
}
}
";

/// Who reads events, and how far it is.
trait Reader {
    /// Events that came, and events that are lost.
    fn counts(&self) -> Result<(u64, u64)>;
}

/// What was seen of a reader.
#[derive(Default)]
struct Seen {
    /// Time per event, in each flood.
    each: Figures,
    sent: Figures,
    kernel: u64,
    delivered: u64,
    lost: u64,
}

/// Runs and prints.
pub(super) fn run(effort: Effort) -> Result<()> {
    let topology: Topology = serde_saphyr::from_str(TOPOLOGY).context("read the topology")?;
    let sandbox = Sandbox::build(&topology, &BTreeSet::new())?;
    let mut deployment = Deployment::start(&sandbox, &Binaries::find()?)?;
    deployment.enrol(&sandbox, "host0")?;
    let floods = if effort.quick { 2 } else { 5 };
    let seen = look(&sandbox, &deployment, floods)
        .with_context(|| format!("what the daemons logged:\n{}", deployment.logs()))?;
    let mut table = Table::new(
        format!(
            "plugins: audit events a second, {floods} floods of denied packets each; aim: at least 100,000, all accounted for"
        ),
        &[
            "reader",
            "events/s",
            "best",
            "÷ reader alone",
            "flood/s",
            "counted by the kernel",
            "delivered",
            "lost",
            "unaccounted",
        ],
    );
    let alone = seen.first().map_or(0.0, |(_, seen)| rate(seen.each.p50()));
    for (name, seen) in seen {
        let known = i128::from(seen.delivered) + i128::from(seen.lost);
        table.row([
            name.to_owned(),
            format!("{:.0}", rate(seen.each.p50())),
            format!("{:.0}", rate(seen.each.least())),
            format!("{:.2}", rate(seen.each.p50()) / alone),
            format!("{:.0}", rate(seen.sent.p50())),
            seen.kernel.to_string(),
            seen.delivered.to_string(),
            seen.lost.to_string(),
            (i128::from(seen.kernel) - known).to_string(),
        ]);
    }
    table.print();
    Ok(())
}

fn look(
    sandbox: &Sandbox,
    deployment: &Deployment,
    floods: u32,
) -> Result<Vec<(&'static str, Seen)>> {
    let host = sandbox.station("host0")?.namespace();
    let client = sandbox.station("client")?.namespace();
    let socket = client.run(|| UdpSocket::bind((CLIENT, 0)))?;
    let many = |reader: &dyn Reader| {
        let mut seen = Seen::default();
        for _ in 0..floods {
            flood(host, &socket, reader, &mut seen)?;
        }
        Ok::<_, anyhow::Error>(seen)
    };
    host.nft(COUNTING)?;
    host.nft(BY_HAND)?;
    let bare = &Bare::default();
    let alone = std::thread::scope(|scope| {
        let log = host
            .run(|| Log::open(AUDIT_GROUP))
            .context("hear of logged packets")?;
        let reading = scope.spawn(|| bare.read(log));
        let seen = many(bare);
        bare.stop.store(true, Ordering::Relaxed);
        let read = reading
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(seen)
    })?;
    host.nft("delete table inet hand\n")?;

    let digest = push(deployment, "redact")?;
    let (_, context) = deployment.administrator();
    let folder = context
        .ancestors()
        .nth(2)
        .context("the folder of the deployment")?;
    let file = folder.join("events.jsonl");
    let mut rows = vec![("the log group read, nothing done", alone)];
    for (name, sinks) in [
        ("redact", json!({})),
        (
            "redact, and a file of JSON lines",
            json!({"lines": {"file": {"path": file, "maxBytes": 64 << 20, "keep": 1}}}),
        ),
    ] {
        let documents = [
            json!({
                "apiVersion": "palisade.dev/v1", "kind": "Plugin",
                "metadata": {"name": "redact"},
                "spec": {"kind": "auditor", "digest": digest, "settings": {"label": "privacy"}, "sinks": sinks},
            }),
            json!({
                "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
                "metadata": {"name": "host0-eth0", "labels": {"role": "host"}},
                "spec": {"node": "host0", "interfaceName": "eth0"},
            }),
        ];
        deployment.palisadectl().apply(
            &documents
                .map(|document| format!("{document}\n"))
                .join("---\n"),
        )?;
        wait_until_active(&deployment.palisadectl())?;
        rows.push((name, many(&Daemon(host))?));
    }
    Ok(rows)
}

/// One flood: the rate is that of its steady part, the counts are those of all of it.
fn flood(host: &Namespace, socket: &UdpSocket, reader: &dyn Reader, seen: &mut Seen) -> Result<()> {
    let to = [SocketAddrV4::new(HOST, PORT); TOGETHER];
    let stop = AtomicBool::new(false);
    let (kernel, counts) = (counted(host)?, reader.counts()?);
    let (first, last) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                burst::send(socket, &to, b"x")?;
            }
            Ok::<_, anyhow::Error>(())
        });
        let look = || Ok::<_, anyhow::Error>((Instant::now(), reader.counts()?, counted(host)?));
        std::thread::sleep(RUN_UP);
        let first = look();
        std::thread::sleep(MEASURED);
        let last = look();
        stop.store(true, Ordering::Relaxed);
        let sent = sending
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sent?;
        Ok::<_, anyhow::Error>((first?, last?))
    })?;
    let time = last.0.duration_since(first.0);
    seen.each.add(share(time, last.1.0 - first.1.0));
    seen.sent.add(share(time, last.2 - first.2));
    let (end, counted) = settled(host, socket, reader, (kernel, counts.0 + counts.1))?;
    seen.kernel += counted - kernel;
    seen.delivered += end.0 - counts.0;
    seen.lost += end.1 - counts.1;
    Ok(())
}

/// Counts of the reader and of the kernel once they agree on what came since `before`, or no more comes. What was lost
/// last shows with the next packet only, so one is sent with each look.
fn settled(
    host: &Namespace,
    socket: &UdpSocket,
    reader: &dyn Reader,
    before: (u64, u64),
) -> Result<((u64, u64), u64)> {
    let (mut known, mut since) = (reader.counts()?, Instant::now());
    loop {
        let kernel = counted(host)?;
        let all = known.0 + known.1 - before.1 >= kernel - before.0;
        if all || since.elapsed() > QUIET {
            return Ok((known, kernel));
        }
        burst::send(socket, &[SocketAddrV4::new(HOST, PORT)], b"x")?;
        std::thread::sleep(LOOK_EVERY);
        let now = reader.counts()?;
        // More than what these packets make.
        if now.0 + now.1 > known.0 + known.1 + 1 {
            since = Instant::now();
        }
        known = now;
    }
}

fn share(time: Duration, count: u64) -> Duration {
    time.div_f64((count as f64).max(1.0))
}

fn rate(each: Duration) -> f64 {
    1.0 / each.as_secs_f64()
}

/// Packets that met the counter.
fn counted(host: &Namespace) -> Result<u64> {
    let listed = host.nft("list table inet counting\n")?;
    let (_, rest) = listed.split_once("counter packets ").context("a counter")?;
    let number = rest.split_whitespace().next().unwrap_or_default();
    number.parse().context("a counter is a number")
}

// === impl Reader ===

/// A daemon, by its metrics.
struct Daemon<'a>(&'a Namespace);

impl Reader for Daemon<'_> {
    fn counts(&self) -> Result<(u64, u64)> {
        let delivered = metrics::read(self.0, metrics::AUDITED)?;
        Ok((delivered, metrics::read(self.0, metrics::LOST)?))
    }
}

/// Reads the log group and does nothing.
#[derive(Default)]
struct Bare {
    stop: AtomicBool,
    delivered: AtomicU64,
    lost: AtomicU64,
}

impl Bare {
    fn read(&self, mut log: Log) -> Result<()> {
        let patience = Timespec::try_from(LOOK_EVERY).context("a time-out")?;
        while !self.stop.load(Ordering::Relaxed) {
            while log.receive(|_| {})? > 0 {
                let counted = log.counted();
                self.delivered.store(counted.delivered, Ordering::Relaxed);
                self.lost.store(counted.lost, Ordering::Relaxed);
            }
            match poll(&mut [PollFd::new(&log, PollFlags::IN)], Some(&patience)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("wait for logged packets"),
            }
        }
        Ok(())
    }
}

impl Reader for Bare {
    fn counts(&self) -> Result<(u64, u64)> {
        Ok((
            self.delivered.load(Ordering::Relaxed),
            self.lost.load(Ordering::Relaxed),
        ))
    }
}
