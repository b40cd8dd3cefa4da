//! Plans that only touch members of sets: applied in place, at the cost of what they touch.

use super::{ApplyError, fits};
use crate::{
    ir::{Element, Ruleset, Set, SetName, Shape, TableName},
    plan::{Op, Plan},
};
use std::sync::Arc;

/// Members of one set that come or go.
struct Step<'a> {
    table: TableName,
    set: &'a SetName,
    kind: (Shape, bool),
    elements: &'a [Element],
    add: bool,
}

fn step(op: &Op) -> Option<Step<'_>> {
    let (table, set, kind, elements, add) = match op {
        Op::AddElements {
            table,
            set,
            shape,
            interval,
            elements,
        } => (*table, set, (*shape, *interval), elements, true),
        Op::DeleteElements {
            table,
            set,
            shape,
            interval,
            elements,
        } => (*table, set, (*shape, *interval), elements, false),
        _ => return None,
    };
    Some(Step {
        table,
        set,
        kind,
        elements,
        add,
    })
}

/// Whether the plan names sets only, and no maps: nothing refers from there.
pub(super) fn is_only(ruleset: &Ruleset, plan: &Plan) -> bool {
    plan.ops.iter().all(|op| {
        step(op).is_some_and(|step| {
            let table = ruleset.tables.get(&step.table);
            table.is_some_and(|table| table.sets.contains_key(step.set))
        })
    })
}

/// Applies such a plan, or takes back what was done.
pub(super) fn apply(ruleset: &mut Ruleset, plan: &Plan) -> Result<(), ApplyError> {
    let mut done: Vec<(Step<'_>, usize)> = Vec::new();
    for step in plan.ops.iter().filter_map(step) {
        let (count, result) = run(ruleset, &step);
        done.push((step, count));
        if let Err(err) = result {
            for (step, count) in done.iter().rev() {
                undo(ruleset, step, *count);
            }
            return Err(err);
        }
    }
    Ok(())
}

/// How many elements were done, and why not more.
fn run(ruleset: &mut Ruleset, step: &Step<'_>) -> (usize, Result<(), ApplyError>) {
    let Some(set) = find(ruleset, step) else {
        return (0, Err(ApplyError::NoSet(step.set.clone())));
    };
    if let Err(err) = fits(step.set, (set.shape, set.interval), step.kind) {
        return (0, Err(err));
    }
    let set = Arc::make_mut(set);
    for (count, element) in step.elements.iter().enumerate() {
        let changed = if step.add {
            set.elements.insert(element.clone())
        } else {
            set.elements.remove(element)
        };
        if !changed {
            let name = step.set.clone();
            return (
                count,
                Err(if step.add {
                    ApplyError::ElementExists(name)
                } else {
                    ApplyError::NoElement(name)
                }),
            );
        }
    }
    (step.elements.len(), Ok(()))
}

fn undo(ruleset: &mut Ruleset, step: &Step<'_>, count: usize) {
    if let Some(set) = find(ruleset, step) {
        let set = Arc::make_mut(set);
        for element in step.elements.iter().take(count).rev() {
            if step.add {
                set.elements.remove(element);
            } else {
                set.elements.insert(element.clone());
            }
        }
    }
}

fn find<'r>(ruleset: &'r mut Ruleset, step: &Step<'_>) -> Option<&'r mut Arc<Set>> {
    ruleset.tables.get_mut(&step.table)?.sets.get_mut(step.set)
}
