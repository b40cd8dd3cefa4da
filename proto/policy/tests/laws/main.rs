//! The laws of views: encoding and reading give the same, applying a difference gives the other side, refusals change
//! nothing, and no bytes of a peer make anything panic.

mod strategy;

use palisade_policy::{
    delta::{Held, SetChange},
    fault::{OutOfStep, Reason, Refusal},
    frame::{Assembler, CHUNK, Chunks},
    item::{ItemId, ItemKind},
    table::{ItemTable, diff, diff_inventory, snapshot},
    view::{Digest, View},
    wire::{Body, Op, decode_ops},
};
use proptest::prelude::*;
use std::sync::Arc;

/// Sends delimited operations the long way: chunks, assembler, decoder.
fn travel(ops: Vec<bytes::Bytes>) -> Vec<Op> {
    let chunks = Chunks::new(ops);
    let mut assembler = Assembler::new(chunks.total_bytes(), 1 << 30).expect("within the limit");
    for chunk in chunks {
        assert!(chunk.len() <= CHUNK);
        assembler.push(&chunk).expect("well formed");
    }
    decode_ops(assembler.finish().expect("complete")).expect("valid")
}

fn held(view: &View) -> Held {
    let table = ItemTable::from_view(view);
    Held::from_snapshot(travel(snapshot(&table)), &table.digest()).expect("a valid view")
}

fn refused(view: &View, ops: Vec<Op>) -> Refusal {
    let mut node = held(view);
    let before = node.clone();
    let refusal = node
        .apply(ops, &Digest::default())
        .expect_err("the change is refused");
    assert_eq!(node, before, "a refused change leaves a trace");
    refusal
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_snapshot_arrives_as_it_was_sent(view in strategy::view()) {
        let node = held(&view);
        prop_assert_eq!(node.view(), &view);
        prop_assert_eq!(node.hashes(), &ItemTable::from_view(&view).inventory());
        let again = Held::from_snapshot(node.snapshot().collect(), &node.digest());
        prop_assert_eq!(again.as_ref(), Ok(&node));
        prop_assert_eq!(ItemTable::from_view(&view).to_view(), Ok(view));
    }

    #[test]
    fn applying_a_difference_gives_the_other_view(a in strategy::view(), b in strategy::view()) {
        let (from, to) = (ItemTable::from_view(&a), ItemTable::from_view(&b));
        let mut node = held(&a);
        let before = node.clone();
        let (change, undo) = node.apply(travel(diff(&from, &to)), &to.digest()).expect("applies");
        prop_assert_eq!(&node, &held(&b));
        prop_assert_eq!(change.is_empty(), a == b);
        node.undo(undo);
        prop_assert_eq!(&node, &before);

        node.apply(travel(diff_inventory(before.hashes(), &to)), &to.digest()).expect("applies");
        prop_assert_eq!(&node, &held(&b));

        let mut node = before.clone();
        let (_, undo) = node.replace(travel(snapshot(&to)), &to.digest()).expect("replaces");
        prop_assert_eq!(&node, &held(&b));
        node.undo(undo);
        prop_assert_eq!(&node, &before);
    }

    #[test]
    fn a_delta_that_loses_an_operation_changes_nothing(
        a in strategy::view(), b in strategy::view(), lost: prop::sample::Index,
    ) {
        let (from, to) = (ItemTable::from_view(&a), ItemTable::from_view(&b));
        let mut ops = travel(diff(&from, &to));
        prop_assume!(!ops.is_empty());
        ops.remove(lost.index(ops.len()));
        let mut node = held(&a);
        let before = node.clone();
        prop_assert!(node.apply(ops, &to.digest()).is_err());
        prop_assert_eq!(&node, &before);
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, announced in 0u64..200, cut in 1usize..9) {
        for kind in [ItemKind::Config, ItemKind::Endpoint, ItemKind::Class, ItemKind::Policy, ItemKind::Set] {
            let _ = Body::decode(&ItemId::new(kind, "default"), &bytes);
        }
        let mut assembler = Assembler::new(announced, 1000).expect("within the limit");
        for chunk in bytes.chunks(cut) {
            if assembler.push(chunk).is_err() {
                return Ok(());
            }
        }
        let _ = assembler.finish().map(decode_ops);
    }

    #[test]
    fn a_flipped_bit_is_refused_or_seen_in_the_digest(
        view in strategy::view(), at: prop::sample::Index, bit in 0u8..8,
    ) {
        let table = ItemTable::from_view(&view);
        let mut bytes: Vec<u8> = snapshot(&table).concat();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut assembler = Assembler::new(bytes.len() as u64, 1 << 30).expect("within the limit");
        let ops = assembler.push(&bytes).and_then(|()| assembler.finish());
        let held = ops.ok().and_then(|ops| decode_ops(ops).ok())
            .and_then(|ops| Held::from_snapshot(ops, &table.digest()).ok());
        prop_assert!(held.is_none());
    }
}

/// The least view: one endpoint, one policy with one set.
fn small() -> View {
    use palisade_policy::{class::*, endpoint::*, ids::*, rule::*, set::IpSet};
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let config = strategy::config()
        .new_tree(&mut TestRunner::deterministic())
        .expect("a config")
        .current();
    let policy = PolicyId::new("gnp/a");
    let set = SetId::new("s:00");
    let class = |direction| Class {
        list: PolicyList::Normal,
        direction,
        endpoint: EndpointKind::Host,
        tiers: vec![ClassTier {
            name: TierName::new("default"),
            default: TierDefault::Deny,
            policies: vec![policy.clone()],
            staged: Vec::new(),
        }],
        profiles: Vec::new(),
    };
    let classes = [class(Direction::Ingress), class(Direction::Egress)];
    let rule = Rule {
        id: RuleId(7),
        action: Action::Allow,
        matches: Match {
            source: EntityMatch {
                sets: vec![set.clone()],
                ..EntityMatch::default()
            },
            ..Match::default()
        },
    };
    let nets = (0..200u32)
        .map(|n| ipnet::IpNet::from(std::net::IpAddr::from(n.to_be_bytes())))
        .collect();
    View {
        plugins: std::collections::BTreeMap::new(),
        config: Arc::new(config),
        endpoints: [(
            EndpointId::new("hep/h"),
            Arc::new(Endpoint {
                kind: EndpointKind::Host,
                interface: InterfaceMatch::Any,
                addresses: Vec::new(),
                source_prefixes: Vec::new(),
                labels: std::collections::BTreeMap::new(),
                classes: classes
                    .iter()
                    .map(|c| ((c.list, c.direction), ClassId::of(c)))
                    .collect(),
            }),
        )]
        .into(),
        classes: classes
            .into_iter()
            .map(|c| (ClassId::of(&c), Arc::new(c)))
            .collect(),
        policies: [(
            policy,
            Arc::new(Policy {
                ingress: vec![rule],
                ..Policy::default()
            }),
        )]
        .into(),
        sets: [(set, Arc::new(IpSet::Nets(nets)))].into(),
    }
}

#[test]
fn one_more_member_travels_as_a_patch() {
    let (a, mut b) = (small(), small());
    let new = palisade_policy::set::Member::Net("198.51.100.0/24".parse().expect("a net"));
    let (id, set) = b.sets.iter_mut().next().expect("a set");
    Arc::make_mut(set).insert(&new);
    let id = id.clone();
    let (from, to) = (ItemTable::from_view(&a), ItemTable::from_view(&b));
    let ops = diff(&from, &to);
    assert!(ops.concat().len() <= 150, "{} bytes", ops.concat().len());
    let (change, _) = held(&a).apply(travel(ops), &to.digest()).expect("applies");
    assert!(change.is_members_only());
    assert_eq!(
        change.sets.get(&id),
        Some(&SetChange::Patched {
            add: vec![new],
            remove: vec![]
        })
    );
}

#[test]
fn a_removed_set_that_a_policy_names_is_refused() {
    let id = ItemId::new(ItemKind::Set, "s:00");
    let Refusal::Items(faults) = refused(&small(), vec![Op::Remove { id: id.clone() }]) else {
        panic!("the item is named");
    };
    assert_eq!(faults[0].item, id);
    assert_eq!(
        faults[0].reason,
        Reason::StillUsed(ItemId::new(ItemKind::Policy, "gnp/a"))
    );
}

#[test]
fn a_snapshot_without_a_set_that_a_policy_names_is_refused() {
    let mut view = small();
    view.sets.clear();
    let table = ItemTable::from_view(&view);
    let Err(Refusal::Items(faults)) =
        Held::from_snapshot(travel(snapshot(&table)), &table.digest())
    else {
        panic!("the item is named");
    };
    assert_eq!(faults[0].item, ItemId::new(ItemKind::Policy, "gnp/a"));
}

#[test]
fn a_patch_of_another_version_asks_for_a_snapshot() {
    let id = palisade_policy::ids::SetId::new("s:00");
    let refusal = refused(
        &small(),
        vec![Op::PatchSet {
            id: id.clone(),
            base: palisade_policy::digest::ItemHash::EMPTY_SET,
            add: vec![],
            remove: vec![],
        }],
    );
    assert_eq!(refusal, Refusal::OutOfStep(OutOfStep::Base((&id).into())));
    assert!(refusal.wants_snapshot());
}

#[test]
fn the_config_cannot_be_removed() {
    let refusal = refused(
        &small(),
        vec![Op::Remove {
            id: ItemId::config(),
        }],
    );
    assert!(matches!(refusal, Refusal::Items(_)));
}

#[test]
fn a_body_with_an_unknown_field_is_refused() {
    let view = small();
    for (id, body) in view.bodies() {
        let mut bytes = body.encode();
        assert!(Body::decode(&id, &bytes).is_ok());
        // Field 1000, a number.
        bytes.extend_from_slice(&[0xc0, 0x3e, 1]);
        assert_eq!(Body::decode(&id, &bytes), Err(Reason::NotCanonical));
    }
}

#[test]
fn faults_name_item_and_field() {
    let mut view = small();
    let policy = view.policies.values_mut().next().expect("a policy");
    Arc::make_mut(policy).ingress[0].id = palisade_policy::ids::RuleId(0);
    let table = ItemTable::from_view(&view);
    let chunks: Vec<u8> = snapshot(&table).concat();
    let mut assembler = Assembler::new(chunks.len() as u64, 1 << 20).expect("within the limit");
    assembler.push(&chunks).expect("well formed");
    let Err(Refusal::Items(faults)) = decode_ops(assembler.finish().expect("complete")) else {
        panic!("the item is named");
    };
    assert_eq!(
        faults[0].to_string(),
        "policy `gnp/a`: ingress[0].id: missing"
    );
}
