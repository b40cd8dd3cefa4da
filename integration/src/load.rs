//! Two streams at full rate from the client to the host, one that must pass and one that must not, counted by the
//! kernel before and after the product: none lost, none leaked.
//!
//! Counts packets, not answers. The counting table stands before and after every hook of the product, so a packet that
//! the link drops under load is in neither count.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::pair::{MUST_DROP, MUST_PASS, Pair};

/// Two streams under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
    began: Instant,
}

/// What the kernel counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Packets of the stream that must pass, before the product.
    pub pass_before: u64,
    /// The same after it.
    pub pass_after: u64,
    /// Packets of the stream that must not pass, before the product.
    pub drop_before: u64,
    /// The same after it.
    pub drop_after: u64,
}

impl Load {
    /// Begins to count, then to send.
    ///
    /// # Errors
    ///
    /// Where the host has no nftables, or the client no sockets.
    pub fn start(pair: &Pair) -> Result<Self> {
        let host = pair.sandbox.station("host0")?;
        host.namespace().nft(&table())?;
        let address = host.address(false).context("host0 has an address")?;
        let sockets = pair.sandbox.station("client")?.namespace().run(|| {
            [MUST_PASS, MUST_DROP]
                .into_iter()
                .map(|port| {
                    let socket = UdpSocket::bind("0.0.0.0:0")?;
                    socket.connect((address, port))?;
                    Ok(socket)
                })
                .collect::<std::io::Result<Vec<_>>>()
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let send = move || {
            while !told.load(Ordering::Relaxed) {
                // A full queue is no concern of ours: what was not sent is not counted.
                sockets.iter().for_each(|socket| drop(socket.send(b"x")));
            }
        };
        let sender = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(send)
            .context("start the sender")?;
        Ok(Self {
            stop,
            sender: Some(sender),
            began: Instant::now(),
        })
    }

    /// Stops sending and says what was counted, once the last packet has been.
    ///
    /// # Errors
    ///
    /// Where the counters cannot be read.
    pub fn stop(mut self, pair: &Pair) -> Result<Counted> {
        self.end();
        let seconds = self.began.elapsed().as_secs_f64();
        let mut counted = read(pair)?;
        loop {
            crate::pause();
            let again = read(pair)?;
            if again == counted {
                println!(
                    "must pass: {} of {} got through, must drop: {} of {} got through, in {seconds:.1} s",
                    counted.pass_after,
                    counted.pass_before,
                    counted.drop_after,
                    counted.drop_before
                );
                return Ok(counted);
            }
            counted = again;
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

impl Counted {
    /// Panics where a packet was lost or leaked, or so few were sent that it means nothing.
    ///
    /// # Panics
    ///
    /// With the counts.
    pub fn expect_none_lost_none_leaked(&self) {
        assert!(
            self.pass_before > 10_000 && self.drop_before > 10_000,
            "too few packets to mean anything: {self:?}"
        );
        assert_eq!(
            self.pass_before, self.pass_after,
            "packets of the stream that must pass were lost: {self:?}"
        );
        assert_eq!(
            self.drop_after, 0,
            "packets of the stream that must drop leaked: {self:?}"
        );
    }
}

/// Counters at the first and the last hook a packet meets.
fn table() -> String {
    let mut table = "table inet counting {\n".to_owned();
    for place in ["before", "after"] {
        for port in [MUST_PASS, MUST_DROP] {
            table.push_str(&format!("counter {place}{port} {{ }}\n"));
        }
    }
    for (place, hook, priority) in [("before", "prerouting", -500), ("after", "input", 500)] {
        table.push_str(&format!(
            "chain {place} {{ type filter hook {hook} priority {priority}; policy accept;\n"
        ));
        for port in [MUST_PASS, MUST_DROP] {
            table.push_str(&format!("udp dport {port} counter name {place}{port}\n"));
        }
        table.push_str("}\n");
    }
    table + "}\n"
}

fn read(pair: &Pair) -> Result<Counted> {
    let host = pair.sandbox.station("host0")?.namespace();
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
    let packets = |place: &str, port: u16| -> Result<u64> {
        let wanted = format!("{place}{port}");
        let entries = listing
            .get("nftables")
            .and_then(|entries| entries.as_array())
            .context("a list of counters")?;
        let counter = entries.iter().filter_map(|entry| entry.get("counter"));
        counter
            .filter(|counter| counter.get("name").and_then(|name| name.as_str()) == Some(&wanted))
            .find_map(|counter| counter.get("packets")?.as_u64())
            .with_context(|| format!("no counter {wanted}"))
    };
    Ok(Counted {
        pass_before: packets("before", MUST_PASS)?,
        pass_after: packets("after", MUST_PASS)?,
        drop_before: packets("before", MUST_DROP)?,
        drop_after: packets("after", MUST_DROP)?,
    })
}
