//! Owned tables: what others can do to them, and how they come from one daemon to the next.

use crate::{
    everything::everything,
    namespace::{alone, install, listing, nft},
    raw::Neighbour,
};
use palisade_netfilter::{Netfilter, OwnError, Volatile};
use palisade_ruleset::{diff::diff, ir::TableName};
use std::{process::Command, time::Duration};

/// What nft says where it fails.
fn refused(arguments: &[&str]) -> String {
    let output = Command::new("nft")
        .args(arguments)
        .output()
        .expect("installed");
    assert!(!output.status.success(), "nft {arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Owns what it makes. Without owned tables in this kernel there is nothing to test, which is said.
fn owner(kernel: &mut Netfilter) -> bool {
    let owns = kernel.own().expect("asked");
    if !owns {
        eprintln!("SKIPPED: this kernel has no owned tables (needs Linux 6.9)");
    }
    owns
}

#[test]
fn nobody_else_changes_or_flushes_what_is_owned_and_all_our_writes_pass() {
    alone(|mut kernel| {
        if !owner(&mut kernel) {
            return;
        }
        let desired = everything();
        kernel.commit(&install(&desired)).expect("committed");
        nft(&["add", "table", "inet", "theirs"]);
        nft(&["flush", "ruleset"]);
        assert!(!listing().contains("theirs"), "others' tables are flushed");
        for edit in [
            ["flush", "chain", "inet", "palisade", "input"].as_slice(),
            &["add", "rule", "inet", "palisade", "input", "accept"],
            &["delete", "table", "inet", "palisade"],
            &["add", "chain", "inet", "palisade-raw", "theirs"],
        ] {
            let said = refused(edit);
            assert!(said.contains("not permitted"), "{said}");
        }
        assert_eq!(kernel.read().expect("read"), desired);
        let mut volatile = Volatile::new(kernel.writer());
        volatile.beat(Duration::from_secs(60), &[]).expect("alive");
        assert!(listing().contains("elements"));
        let gone = diff(&desired, &Default::default());
        for plan in gone.transactions() {
            kernel.commit(&plan).expect("removed");
        }
        assert_eq!(listing(), "");
    });
}

#[test]
fn tables_outlive_their_owner_and_the_next_one_takes_them_without_a_change() {
    alone(|mut kernel| {
        if !owner(&mut kernel) {
            return;
        }
        let desired = everything();
        kernel.commit(&install(&desired)).expect("committed");
        let mut second = Netfilter::open().expect("a socket");
        match second.own() {
            Err(OwnError::Taken { owner, .. }) => assert_eq!(owner, Some(kernel.port())),
            other => panic!("{other:?}"),
        }
        drop(kernel);
        assert!(second.own().expect("taken"));
        assert_eq!(second.read().expect("read"), desired);
        assert!(refused(&["delete", "table", "inet", "palisade"]).contains("not permitted"));
    });
}

#[test]
fn a_table_without_owner_is_made_anew_in_one_transaction() {
    alone(|mut kernel| {
        let desired = everything();
        kernel.commit(&install(&desired)).expect("committed");
        let mut next = Netfilter::open().expect("a socket");
        if !owner(&mut next) {
            return;
        }
        let actual = next.read().expect("read");
        assert_ne!(actual, desired, "it is not as it should be");
        let plans = diff(&actual, &desired).transactions();
        let generation = next.generation().expect("asked");
        for plan in &plans {
            next.commit(plan).expect("committed");
            next.read_touched(plan).expect("as planned");
        }
        assert_eq!(
            next.generation().expect("asked"),
            generation + 1,
            "one transaction"
        );
        assert_eq!(next.read().expect("read"), desired);
        assert!(refused(&["flush", "table", "inet", "palisade"]).contains("not permitted"));
    });
}

#[test]
fn whoever_owns_a_table_of_our_name_is_named() {
    alone(|mut kernel| {
        let mut other = Neighbour::open();
        if other.table(c"palisade-guard", 6).is_err() {
            return;
        }
        match kernel.own() {
            Err(err @ OwnError::Taken { table, .. }) => {
                assert_eq!(table, TableName::Guard);
                assert!(
                    err.to_string()
                        .contains("`palisade-guard` belongs to another program")
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(!kernel.owns());
    });
}
