//! Every validation rule of the specification (§1, §3.1, §3.2), each with what it takes and what it refuses.

mod endpoints;
mod metadata;
mod plugins;
mod policies;
mod rules;
mod settings;

use palisade_model::{Decoded, decode, stored, unenforced};
use serde_json::{Value, json};

/// A resource of a kind with this spec, in namespace `default` where the kind has namespaces.
fn resource(kind: &str, name: &str, spec: Value) -> Value {
    let mut value = json!({
        "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    if palisade_model::Kind::from_document(kind).is_some_and(|kind| kind.is_namespaced()) {
        value["metadata"]["namespace"] = "default".into();
    }
    value
}

/// What is taken, and taken again as it was written back, and read as it is stored.
fn taken(value: &Value) -> Decoded {
    let first = decode(value).unwrap_or_else(|problems| panic!("{value}: {problems:?}"));
    let second = decode(&first.json).unwrap_or_else(|problems| panic!("{value}: {problems:?}"));
    assert_eq!(
        (&first.json, &first.resource),
        (&second.json, &second.resource)
    );
    // A write that could not be read again would freeze every node.
    let row = stored::encode(&first.json).expect("encodes");
    let read = stored::read(first.resource.id().store_key().as_bytes(), &row);
    match unenforced(&first.resource).as_slice() {
        [] => assert_eq!(read.map(|read| read.resource).as_ref(), Ok(&first.resource)),
        _ => assert!(read.is_err(), "{value}: a write of it is refused"),
    }
    first
}

/// The fields at fault, sorted.
fn refused(value: &Value) -> Vec<String> {
    let problems = match decode(value) {
        Ok(_) => panic!("{value} is taken"),
        Err(problems) => problems,
    };
    let mut paths: Vec<_> = problems.iter().map(|p| p.path.to_string()).collect();
    paths.sort();
    paths.dedup();
    paths
}
