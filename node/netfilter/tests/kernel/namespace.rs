//! A network namespace per test, and what tests do in it.

use palisade_netfilter::Netfilter;
use palisade_ruleset::{
    ir::Ruleset,
    plan::{Op, Plan},
};
use std::{io::Write as _, process::Command, thread};

/// Runs a test in a fresh network namespace. Without the right to make one it says so, which
/// `PALISADE_REQUIRE=netns` makes a failure.
pub(crate) fn alone(test: impl FnOnce(Netfilter) + Send + 'static) {
    let done = thread::spawn(|| {
        // SAFETY: takes no pointers; moves only this thread, which ends with the test.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let required = std::env::var("PALISADE_REQUIRE").unwrap_or_default();
            assert!(
                !required.split(',').any(|what| what == "netns"),
                "PALISADE_REQUIRE=netns, and no network namespace can be made"
            );
            // Straight to stderr: what is printed by a passing test is not shown.
            let line = b"SKIPPED: no right to make a network namespace (needs root)\n";
            let _ = std::io::stderr().write_all(line);
            return;
        }
        test(Netfilter::open().expect("a socket"));
    });
    if let Err(panic) = done.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Everything that nft has to say about this namespace.
pub(crate) fn listing() -> String {
    nft(&["-n", "list", "ruleset"])
}

/// Runs nft, which must succeed.
pub(crate) fn nft(arguments: &[&str]) -> String {
    run("nft", arguments)
}

/// Runs a program, which must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the program is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {:?} {complaints}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The plan from nothing to a ruleset.
pub(crate) fn install(ruleset: &Ruleset) -> Plan {
    let mut ops = Vec::new();
    for (&name, table) in &ruleset.tables {
        ops.push(Op::AddTable(name));
        for (set, content) in &table.sets {
            ops.push(Op::AddSet {
                table: name,
                name: set.clone(),
                set: content.clone(),
            });
        }
        for (map, content) in &table.maps {
            ops.push(Op::AddMap {
                table: name,
                name: map.clone(),
                shape: content.shape,
                interval: content.interval,
            });
        }
        for (chain, content) in &table.chains {
            ops.push(Op::AddChain {
                table: name,
                chain: chain.clone(),
                base: content.base,
            });
        }
        for (chain, content) in &table.chains {
            ops.push(Op::AddRules {
                table: name,
                chain: chain.clone(),
                rules: content.rules.clone(),
            });
        }
        for (map, content) in &table.maps {
            ops.push(Op::AddVerdicts {
                table: name,
                map: map.clone(),
                shape: content.shape,
                interval: content.interval,
                elements: content.elements.clone().into_iter().collect(),
            });
        }
    }
    Plan { ops }
}
