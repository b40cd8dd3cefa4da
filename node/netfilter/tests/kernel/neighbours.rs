//! Reading everything while others are at work, and while our own heartbeats go on.

use crate::{
    everything::{address, everything, single},
    namespace::{alone, install, nft},
    raw::Neighbour,
};
use palisade_netfilter::{Netfilter, ReadError, Volatile};
use palisade_ruleset::{
    ir::{
        Chain, ChainName, Expression, Rule, Ruleset, Set, SetName, Shape, TableName, Value, Verdict,
    },
    plan::{Op, Plan},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Works until dropped, as fast as it can.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Busy {
    fn with(mut turn: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut turns = 0;
            while !told.load(Ordering::Relaxed) {
                turn();
                turns += 1;
            }
            turns
        });
        let thread = Some(thread);
        Self { stop, thread }
    }

    /// How many turns it had.
    fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("at work");
        thread.join().expect("it ends well")
    }
}

/// So much that every dump takes many datagrams.
fn large() -> Ruleset {
    with_chains(3000)
}

fn with_chains(count: u32) -> Ruleset {
    let mut ruleset = everything();
    let main = ruleset.tables.get_mut(&TableName::Main).expect("there");
    for n in 0..count {
        let accept = Rule::new(vec![Expression::Verdict(Verdict::Accept)]);
        let chain = Chain {
            base: None,
            rules: Arc::new(vec![accept; 3]),
        };
        let name = ChainName::new(format!("many_{n}"));
        main.chains.insert(name, chain);
    }
    let host = |n: u32| {
        single(Value::Address(
            std::net::Ipv4Addr::from(0x0b00_0000 + n).into(),
        ))
    };
    let set = Set {
        shape: Shape::Address4,
        interval: false,
        elements: (0..10 * count).map(host).collect(),
    };
    main.sets.insert(SetName::new("many"), Arc::new(set));
    ruleset
}

#[test]
fn changes_of_other_tables_keep_nobody_from_reading_ours() {
    alone(|mut kernel| {
        // Before ours in the kernel's list, so that its chains move ours to other places of the dump.
        nft(&["add", "table", "inet", "aaa"]);
        let desired = large();
        kernel.commit(&install(&desired)).expect("committed");
        kernel.listen().expect("listening");
        let mut neighbour = Neighbour::open();
        let busy = Busy::with(move || {
            neighbour.add_chain(c"aaa", c"theirs");
            neighbour.delete_chain(c"aaa", c"theirs");
        });
        for _ in 0..10 {
            // Other people's transactions fill the monitor's buffer too; the daemon takes them as they come.
            while let Some(monitor) = kernel.monitor()
                && monitor.next_event().expect("heard").is_some()
            {}
            assert!(kernel.read().expect("read") == desired);
        }
        let turns = busy.stop();
        assert!(turns > 100, "only {turns} changes beside ten readings");
    });
}

#[test]
fn our_own_heartbeats_keep_nobody_from_reading() {
    alone(|mut kernel| {
        let desired = large();
        kernel.commit(&install(&desired)).expect("committed");
        let mut volatile = Volatile::new(kernel.writer());
        let busy = Busy::with(move || {
            volatile.beat(Duration::from_secs(1), &[]).expect("alive");
        });
        for _ in 0..10 {
            assert!(kernel.read().expect("read") == desired);
        }
        let turns = busy.stop();
        assert!(turns > 100, "only {turns} heartbeats beside ten readings");
    });
}

/// Moves an address from one set to another, in one transaction.
fn moved(from: &str, to: &str) -> Plan {
    let at = single(address("10.77.0.1"));
    let (table, shape, interval) = (TableName::Main, Shape::Address4, false);
    Plan {
        ops: vec![
            Op::DeleteElements {
                table,
                set: SetName::new(from),
                shape,
                interval,
                elements: vec![at.clone()],
            },
            Op::AddElements {
                table,
                set: SetName::new(to),
                shape,
                interval,
                elements: vec![at],
            },
        ],
    }
}

#[test]
fn what_is_read_while_others_change_our_tables_is_one_moment_or_nothing() {
    alone(|mut kernel| {
        let mut desired = with_chains(300);
        let main = desired.tables.get_mut(&TableName::Main).expect("there");
        for (name, elements) in [("zz_left", 1), ("aa_right", 0)] {
            let at = single(address("10.77.0.1"));
            let set = Set {
                shape: Shape::Address4,
                interval: false,
                elements: std::iter::repeat_n(at, elements).collect(),
            };
            main.sets.insert(SetName::new(name), Arc::new(set));
        }
        kernel.commit(&install(&desired)).expect("committed");
        kernel.listen().expect("listening");
        let mut other = Netfilter::open().expect("a socket");
        let busy = Busy::with(move || {
            other.commit(&moved("zz_left", "aa_right")).expect("moved");
            other.commit(&moved("aa_right", "zz_left")).expect("moved");
            // Now and then it stands still for long enough.
            std::thread::yield_now();
        });
        let mut refused = 0;
        for _ in 0..10 {
            while let Some(monitor) = kernel.monitor()
                && monitor.next_event().expect("heard").is_some()
            {}
            match kernel.read() {
                Ok(ruleset) => {
                    let main = &ruleset.tables[&TableName::Main];
                    let count = |name| main.sets[&SetName::new(name)].elements.len();
                    assert_eq!(count("zz_left") + count("aa_right"), 1);
                }
                Err(ReadError::Changing) => refused += 1,
                Err(err) => panic!("{err}"),
            }
        }
        busy.stop();
        assert!(refused > 0, "nobody changed anything meanwhile");
        assert!(kernel.read().is_ok(), "it stands still");
    });
}
