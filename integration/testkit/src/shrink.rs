//! Makes a failing case small: drops resources, fields, members of lists and parts of selectors while it still fails.
//!
//! Works on the documents as JSON, so it knows no kind and needs no change for a new field.

use crate::document::{Document, World};
use crate::packet::{Packet, Tracking};
use crate::selector::Selector;
use serde_json::Value;

/// A step into a document.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// The smallest case found that still fails. `fails` is asked about valid and invalid worlds alike, and says no to those
/// that the product refuses.
pub fn shrink(
    mut world: World,
    mut packet: Packet,
    mut fails: impl FnMut(&World, &Packet) -> bool,
) -> (World, Packet) {
    loop {
        let before = (world.clone(), packet.clone());
        drop_documents(&mut world, &packet, &mut fails);
        for index in 0..world.documents.len() {
            shrink_document(&mut world, index, &packet, &mut fails);
        }
        for smaller in smaller_packets(&packet) {
            if fails(&world, &smaller) {
                packet = smaller;
            }
        }
        if before == (world.clone(), packet.clone()) {
            return (world, packet);
        }
    }
}

fn drop_documents(
    world: &mut World,
    packet: &Packet,
    fails: &mut impl FnMut(&World, &Packet) -> bool,
) {
    for index in (0..world.documents.len()).rev() {
        let mut without = world.clone();
        without.documents.remove(index);
        if fails(&without, packet) {
            *world = without;
        }
    }
}

fn shrink_document(
    world: &mut World,
    index: usize,
    packet: &Packet,
    fails: &mut impl FnMut(&World, &Packet) -> bool,
) {
    let mut attempt = |world: &mut World, json: Value| -> bool {
        let Ok(document) = serde_json::from_value::<Document>(json) else {
            return false;
        };
        if world.documents[index] == document {
            return false;
        }
        let mut smaller = world.clone();
        smaller.documents[index] = document;
        let is_failing = fails(&smaller, packet);
        if is_failing {
            *world = smaller;
        }
        is_failing
    };
    // From the end, so that places before a dropped member stay where they are.
    for path in places(&world.documents[index].to_json()).into_iter().rev() {
        let json = world.documents[index].to_json();
        if let Some(without) = without(json, &path) {
            attempt(world, without);
        }
    }
    for path in places(&world.documents[index].to_json()) {
        let json = world.documents[index].to_json();
        for text in smaller_selectors(&json, &path) {
            let mut changed = world.documents[index].to_json();
            if let Some(place) = find(&mut changed, &path) {
                *place = Value::String(text);
                if attempt(world, changed) {
                    break;
                }
            }
        }
    }
}

/// Every place inside a document that could be dropped.
fn places(json: &Value) -> Vec<Vec<Step>> {
    fn walk(value: &Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
        let mut inside = |step: Step, value: &Value| {
            path.push(step);
            found.push(path.clone());
            walk(value, path, found);
            path.pop();
        };
        match value {
            Value::Object(map) => map
                .iter()
                .for_each(|(k, v)| inside(Step::Key(k.clone()), v)),
            Value::Array(list) => {
                let each = list.iter().enumerate();
                each.for_each(|(i, v)| inside(Step::Index(i), v));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(json, &mut Vec::new(), &mut found);
    found
}

fn find<'a>(json: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(json, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

fn without(mut json: Value, path: &[Step]) -> Option<Value> {
    let (last, parent) = path.split_last()?;
    match (find(&mut json, parent)?, last) {
        (Value::Object(map), Step::Key(key)) => {
            map.remove(key)?;
        }
        (Value::Array(list), Step::Index(index)) if *index < list.len() => {
            list.remove(*index);
        }
        _ => return None,
    }
    Some(json)
}

fn smaller_selectors(json: &Value, path: &[Step]) -> Vec<String> {
    let Some(Step::Key(key)) = path.last() else {
        return Vec::new();
    };
    if !key.to_ascii_lowercase().ends_with("selector") {
        return Vec::new();
    }
    let mut json = json.clone();
    let text = find(&mut json, path).and_then(|value| value.as_str().map(str::to_owned));
    let selector = text.and_then(|text| Selector::read(&text).ok());
    let smaller = selector.map(|selector| selector.expression.smaller());
    let smaller = smaller.unwrap_or_default();
    smaller.into_iter().map(|e| e.render(0)).collect()
}

fn smaller_packets(packet: &Packet) -> Vec<Packet> {
    let mut all = Vec::new();
    if packet.translated.is_some() {
        let mut plain = packet.clone();
        plain.translated = None;
        all.push(plain);
    }
    if packet.tracking != Tracking::New {
        let mut new = packet.clone();
        new.tracking = Tracking::New;
        all.push(new);
    }
    for question in packet.answers.keys() {
        let mut unanswered = packet.clone();
        unanswered.answers.remove(question);
        all.push(unanswered);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Dice, Scope, packets, world};

    #[test]
    fn what_is_left_is_what_the_failure_needs() {
        let needs = |world: &World| {
            world.documents.iter().any(|document| {
                document.to_json()["spec"]["selector"]
                    .as_str()
                    .is_some_and(|text| text.contains("has("))
            })
        };
        let found = (0..100)
            .map(|seed| world(seed, Scope::ALL))
            .find(|world| needs(world));
        let world = found.expect("a world with such a selector");
        let packet = packets(&world, &mut Dice::new(1), 1).remove(0);
        let (small, _) = shrink(world, packet, |world, _| needs(world));
        assert_eq!(small.documents.len(), 1);
        let spec = &small.documents[0].to_json()["spec"];
        assert_eq!(
            spec.as_object().map(serde_json::Map::len),
            Some(1),
            "{spec}"
        );
    }
}
