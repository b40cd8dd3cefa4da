//! The part of the demonstration with plugins: both examples, built from source, uploaded, and asked about real packets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use palisade_integration::guests;
use palisade_integration::traffic::datagram::{Port, query};

use super::Show;

const DOCUMENTS: &str = include_str!("../../demo/plugins.yaml");
/// How long it may take until the nodes have fetched and compiled the plugins.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a packet takes here.
const SILENCE: Duration = Duration::from_millis(300);
/// Denials that are a burst, as the documents set it, and some more.
const BURST: u32 = 12;
/// Names asked for, and whether questions about them should get through.
const NAMES: [(&str, bool); 2] = [("www.example.org", true), ("www.denied.example", false)];

/// The components.
pub(super) struct Built {
    dns_suffix: PathBuf,
    redact: PathBuf,
}

impl Built {
    pub(super) fn from_source() -> Result<Self> {
        println!("Building the plugins dns-suffix and redact from source.");
        Ok(Self {
            dns_suffix: guests::build("dns-suffix")?,
            redact: guests::build("redact")?,
        })
    }

    pub(super) fn act(&self, show: &Show<'_>) -> Result<()> {
        println!(
            "\nTwo WebAssembly plugins (plugins/examples), and a policy and an auditor that use them (integration/src/demo/plugins.yaml):"
        );
        push(show, &self.dns_suffix, &["--name", "dns-suffix"])?;
        let digest = push(show, &self.redact, &[])?;
        let documents = DOCUMENTS.replace("DIGEST", &digest);
        show.deployment.palisadectl().apply(&documents)?;
        let took = decided(show)?;
        println!(
            "  uploaded, applied, fetched and compiled by the workers, asked about real packets after {} ms",
            took.as_millis()
        );
        println!("\nThe same rule, the same port; the plugin reads the name in the question:");
        questions(show)?;
        println!(
            "\nA burst of denials, as `palisadectl flows` tells of it; the addresses of production endpoints are not:"
        );
        burst(show)
    }
}

/// Uploads a component; gives its digest.
fn push(show: &Show<'_>, file: &Path, more: &[&str]) -> Result<String> {
    let file = file.to_str().context("a path that can be typed")?;
    let arguments = [&["plugin", "push", file], more].concat();
    let palisadectl = show.deployment.palisadectl();
    let digest = palisadectl.run(&arguments, "")?.success()?;
    Ok(digest.trim().to_owned())
}

/// Whether a question gets through from worker1 to the resolver.
fn passes(show: &Show<'_>, name: &str, ipv6: bool) -> Result<bool> {
    let resolver = Port::open(show.sandbox.station("resolver")?, 53)?;
    // A new socket for each question: answers are remembered for a flow.
    let client = Port::open(show.sandbox.station("worker1")?, 0)?;
    let question = query(name);
    client.send(&resolver, ipv6, &question)?;
    let heard = resolver.hear(&BTreeSet::from([question.clone()]), SILENCE)?;
    Ok(heard.contains(&question))
}

/// Waits until the plugin decides: before that, the failure policy denies every name.
fn decided(show: &Show<'_>) -> Result<Duration> {
    let began = Instant::now();
    while !passes(show, NAMES[0].0, false)? {
        if began.elapsed() > PATIENCE {
            bail!("dns-suffix decides nothing within {PATIENCE:?}");
        }
    }
    Ok(began.elapsed())
}

fn questions(show: &Show<'_>) -> Result<()> {
    let mut wrong = 0;
    for (name, allow) in NAMES {
        for ipv6 in [false, true] {
            let passed = passes(show, name, ipv6)?;
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            let word = if passed { "passed " } else { "dropped" };
            println!("  {word} worker1 -> resolver udp/53 {family}  {name}");
            wrong += usize::from(passed != allow);
        }
    }
    if wrong > 0 {
        bail!("{wrong} questions did not fare as they should");
    }
    Ok(())
}

/// Denied packets, until what is told of them has addresses blanked, and the burst.
fn burst(show: &Show<'_>) -> Result<()> {
    let client = Port::open(show.sandbox.station("client")?, 0)?;
    let closed = Port::open(show.sandbox.station("worker2")?, 9999)?;
    let began = Instant::now();
    let wanted = ["redacted=true", "burst of denials"];
    loop {
        for _ in 0..BURST {
            client.send(&closed, false, b"x")?;
        }
        let told = show
            .deployment
            .palisadectl()
            .run(&["flows", "--last", "200", "--node", "worker2"], "")?
            .success()?;
        let lines: Vec<&str> = wanted
            .iter()
            .filter_map(|text| told.lines().find(|line| line.contains(text)))
            .collect();
        if lines.len() == wanted.len() {
            lines.iter().for_each(|line| println!("  {line}"));
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!(
                "redact blanks no address or tells of no burst; `palisadectl flows` shows:\n{told}"
            );
        }
    }
}
