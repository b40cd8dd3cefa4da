//! Law a: views are functions of the present resources. Law b: the incremental compiler equals the one from scratch,
//! after every random edit.

mod strategy;

use palisade_compile::{Compiler, Reach, World, compile, reach};
use palisade_model::Name;
use palisade_policy::{
    delta::Held,
    frame::{Assembler, Chunks},
    table::{ItemTable, diff, snapshot},
    wire::decode_ops,
};
use proptest::{collection::vec, prelude::*};
use strategy::{Edit, edit};

fn nodes() -> Vec<Name> {
    ["n1", "n2", "n3"]
        .iter()
        .filter_map(|name| Name::new(name))
        .collect()
}

fn travel(ops: Vec<bytes::Bytes>) -> Vec<palisade_policy::wire::Op> {
    let chunks = Chunks::new(ops);
    let mut assembler = Assembler::new(chunks.total_bytes(), 1 << 30).expect("within the limit");
    chunks.for_each(|chunk| assembler.push(&chunk).expect("well formed"));
    decode_ops(assembler.finish().expect("complete")).expect("valid")
}

fn world_of(edits: &[Edit]) -> World {
    let mut world = World::new();
    for (id, resource) in edits {
        world.set(id.clone(), resource.clone());
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn incremental_equals_from_scratch_after_every_edit(
        edits in vec(vec(edit(), 1..4), 1..14),
    ) {
        let mut world = World::new();
        let mut compiler = Compiler::new();
        let mut node = None::<Held>;
        let mut sent = ItemTable::new();
        for (revision, changes) in edits.into_iter().enumerate() {
            for (id, resource) in &changes {
                world.set(id.clone(), resource.clone());
            }
            let before: Vec<_> = nodes().iter().map(|n| compiler.view(n).digest()).collect();
            let affected = compiler.apply(changes, revision as u64);
            for (name, before) in nodes().iter().zip(before) {
                let view = compile(&world, name);
                prop_assert_eq!(view.check(), vec![]);
                let compiled = compiler.view(name);
                prop_assert_eq!(&compiled.items, &ItemTable::from_view(&view));
                prop_assert_eq!(affected.nodes.contains(name), compiled.digest() != before);
            }
            // A node that follows along holds what was compiled.
            let latest = compiler.view(&nodes()[0]).items;
            match &mut node {
                None => {
                    let held = Held::from_snapshot(travel(snapshot(&latest)), &latest.digest());
                    node = Some(held.expect("a valid view"));
                }
                Some(held) => {
                    held.apply(travel(diff(&sent, &latest)), &latest.digest()).expect("applies");
                    prop_assert_eq!(held.view(), &compile(&world, &nodes()[0]));
                }
            }
            sent = latest;
        }
    }

    /// Whoever cannot read a resource leaves the views within its reach alone; that must be enough.
    #[test]
    fn a_resource_changes_no_view_beyond_its_reach(edits in vec(edit(), 1..30)) {
        let mut compiler = Compiler::new();
        for name in nodes() {
            compiler.view(&name);
        }
        for (id, resource) in edits {
            let affected = compiler.apply([(id.clone(), resource)], 1);
            for name in affected.nodes {
                let is_within = match reach(&id) {
                    Reach::Nobody => false,
                    Reach::Node(node) => node == name,
                    Reach::Everybody => true,
                };
                prop_assert!(is_within, "{} changed the view of {}", id, name);
            }
        }
    }

    #[test]
    fn views_do_not_depend_on_history(edits in vec(edit(), 1..30)) {
        let world = world_of(&edits);
        let mut stepwise = Compiler::new();
        for change in edits {
            stepwise.apply([change], 1);
        }
        let mut backwards = Compiler::new();
        let mut present: Vec<_> = world
            .iter()
            .map(|(id, resource)| (id.clone(), Some(resource.clone())))
            .collect();
        present.reverse();
        for change in present {
            backwards.apply([change], 1);
        }
        for name in nodes() {
            prop_assert_eq!(stepwise.view(&name).items, backwards.view(&name).items);
        }
    }
}
