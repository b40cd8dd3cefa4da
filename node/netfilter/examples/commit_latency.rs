//! How long one small change takes among many rules, beside `nft -f` making the same change in the same run.
//!
//! `cargo run --release -p palisade-netfilter --example commit_latency [rounds]`, as root; works in a network namespace
//! of its own. Prints the median of wall time.

use palisade_netfilter::Netfilter;
use palisade_policy::rule::{Family, Protocol};
use palisade_ruleset::{
    ir::{
        Base, ChainName, Element, End, Expression, Hook, Key, Rule, Set, SetName, Shape, TableName,
        Value, Verdict,
    },
    plan::{Op, Plan},
};
use std::{
    collections::BTreeSet,
    error::Error,
    fmt::Write as _,
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MAIN: TableName = TableName::Main;
const CHAINS: u16 = 500;
const MEMBERS: u32 = 100_000;

fn main() -> Outcome<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(200), |n| n.parse())?;
    // SAFETY: takes no pointers; the process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err("no right to make a network namespace".into());
    }
    let mut kernel = Netfilter::open()?;
    let world = world();
    let committed = kernel.commit(&world)?;
    println!(
        "install: {CHAINS} chains of 20 rules, {MEMBERS} members, {} bytes: encode {:?}, kernel {:?}",
        committed.bytes, committed.encoding, committed.commit
    );
    report("read everything", 3, || {
        timed(|| Ok(kernel.read().map(drop)?))
    })?;
    let (there, gone) = (members(true), members(false));
    report("one member: commit", rounds, || {
        let time = timed(|| Ok(kernel.commit(&there).map(drop)?))?;
        kernel.commit(&gone)?;
        Ok(time)
    })?;
    report("one member: commit and read back", rounds, || {
        let time = timed(|| {
            kernel.commit(&there)?;
            Ok(kernel.read_touched(&there).map(drop)?)
        })?;
        kernel.commit(&gone)?;
        Ok(time)
    })?;
    report("one member: nft -f", rounds.min(20), || {
        let time = timed(|| nft("add element inet palisade many { 9.9.9.9 }\n"))?;
        nft("delete element inet palisade many { 9.9.9.9 }\n")?;
        Ok(time)
    })?;
    let replacement = replacement();
    report("one chain of 20: commit", rounds, || {
        timed(|| Ok(kernel.commit(&replacement).map(drop)?))
    })?;
    report("one chain of 20: commit and read back", rounds, || {
        timed(|| {
            kernel.commit(&replacement)?;
            Ok(kernel.read_touched(&replacement).map(drop)?)
        })
    })?;
    let text = replacement_text()?;
    report("one chain of 20: nft -f", rounds.min(20), || {
        timed(|| nft(&text))
    })
}

fn timed(what: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let begun = Instant::now();
    what()?;
    Ok(begun.elapsed())
}

fn report(name: &str, rounds: usize, mut once: impl FnMut() -> Outcome<Duration>) -> Outcome<()> {
    let mut times = (0..rounds).map(|_| once()).collect::<Outcome<Vec<_>>>()?;
    times.sort();
    let at = |percent: usize| times.get((times.len() - 1) * percent / 100).copied();
    let (p50, p99) = (at(50).unwrap_or_default(), at(99).unwrap_or_default());
    println!("{name}: p50 {p50:?}, p99 {p99:?} of {rounds}");
    Ok(())
}

fn chain(n: u16) -> ChainName {
    ChainName::new(format!("bucket_{n}"))
}

/// Twenty rules that test addresses and drop.
fn rules(n: u16) -> Arc<Vec<Rule>> {
    let rule = |host: u8| {
        let [a, b] = n.to_be_bytes();
        let net = ipnet::Ipv4Net::from(Ipv4Addr::new(10, a, b, host));
        Rule::new(vec![
            Expression::Family(Family::V4),
            Expression::Net {
                end: End::Source,
                net: net.into(),
                not: false,
            },
            Expression::Counter,
            Expression::Verdict(Verdict::Drop),
        ])
    };
    Arc::new((0..20).map(rule).collect())
}

fn world() -> Plan {
    let set = Set {
        shape: Shape::Address4,
        interval: false,
        elements: (0..MEMBERS)
            .map(|n| Element::single(Value::Address(Ipv4Addr::from(0x0b00_0000 + n).into())))
            .collect::<BTreeSet<_>>(),
    };
    let (input, index) = (ChainName::new("input"), SetName::new("index"));
    let mut ops = vec![
        Op::AddTable(MAIN),
        Op::AddSet {
            table: MAIN,
            name: SetName::new("many"),
            set: Arc::new(set),
        },
        Op::AddMap {
            table: MAIN,
            name: index.clone(),
            shape: Shape::ProtocolPort,
            interval: false,
        },
        Op::AddChain {
            table: MAIN,
            chain: input.clone(),
            base: Some(Base {
                hook: Hook::Input,
                priority: -5,
            }),
        },
        Op::AddRules {
            table: MAIN,
            chain: input,
            rules: Arc::new(vec![Rule::new(vec![Expression::VerdictMap {
                key: Key::ProtocolPort(End::Destination),
                map: index.clone(),
            }])]),
        },
    ];
    for n in 0..CHAINS {
        ops.push(Op::AddChain {
            table: MAIN,
            chain: chain(n),
            base: None,
        });
        ops.push(Op::AddRules {
            table: MAIN,
            chain: chain(n),
            rules: rules(n),
        });
    }
    ops.push(Op::AddVerdicts {
        table: MAIN,
        map: index,
        shape: Shape::ProtocolPort,
        interval: false,
        elements: (0..CHAINS)
            .map(|n| {
                let value = Value::ProtocolPort(Protocol::TCP, n);
                (Element::single(value), Verdict::Goto(chain(n)))
            })
            .collect(),
    });
    Plan { ops }
}

/// One member comes, or goes.
fn members(there: bool) -> Plan {
    let (table, set, shape, interval) = (MAIN, SetName::new("many"), Shape::Address4, false);
    let elements = vec![Element::single(Value::Address(
        Ipv4Addr::new(9, 9, 9, 9).into(),
    ))];
    let op = if there {
        Op::AddElements {
            table,
            set,
            shape,
            interval,
            elements,
        }
    } else {
        Op::DeleteElements {
            table,
            set,
            shape,
            interval,
            elements,
        }
    };
    Plan { ops: vec![op] }
}

fn replacement() -> Plan {
    let ops = vec![
        Op::FlushChain {
            table: MAIN,
            chain: chain(7),
        },
        Op::AddRules {
            table: MAIN,
            chain: chain(7),
            rules: rules(7),
        },
    ];
    Plan { ops }
}

fn replacement_text() -> Outcome<String> {
    let mut text = "flush chain inet palisade bucket_7\n".to_owned();
    for host in 0..20 {
        writeln!(
            text,
            "add rule inet palisade bucket_7 ip saddr 10.0.7.{host} counter drop"
        )?;
    }
    Ok(text)
}

fn nft(input: &str) -> Outcome<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    nft.stdin
        .take()
        .ok_or("no input to nft")?
        .write_all(input.as_bytes())?;
    if nft.wait()?.success() {
        Ok(())
    } else {
        Err("nft failed".into())
    }
}
