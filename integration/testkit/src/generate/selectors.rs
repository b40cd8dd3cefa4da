//! Selectors of every form, about labels that exist and labels that do not.

use super::dice::Dice;
use super::pools::{LABELS, TEAM};
use crate::selector::Expression::{self, *};
use crate::selector::Selector;

/// About labels of endpoints and sets.
pub(super) fn of_labels(dice: &mut Dice) -> Selector {
    let depth = dice.below(3);
    let style = style(dice);
    expression(dice, depth, &LABELS).spelled(style)
}

/// About labels of namespaces or accounts.
pub(super) fn of_team(dice: &mut Dice) -> Selector {
    let depth = dice.below(2);
    let style = style(dice);
    expression(dice, depth, &[TEAM]).spelled(style)
}

/// The only selector that may say `global()`.
pub(super) fn of_namespaces(dice: &mut Dice) -> Selector {
    match dice.chance(30) {
        true => Global.spelled(0),
        false => of_team(dice),
    }
}

fn style(dice: &mut Dice) -> u8 {
    u8::try_from(dice.below(16)).unwrap_or_default()
}

fn expression(dice: &mut Dice, depth: usize, labels: &[(&str, &[&str])]) -> Expression {
    if depth == 0 {
        return leaf(dice, labels);
    }
    let list = |dice: &mut Dice| {
        let n = 2 + dice.below(2);
        (0..n)
            .map(|_| expression(dice, depth - 1, labels))
            .collect()
    };
    match dice.below(4) {
        0 => Not(Box::new(expression(dice, depth - 1, labels))),
        1 => And(list(dice)),
        2 => Or(list(dice)),
        _ => leaf(dice, labels),
    }
}

fn leaf(dice: &mut Dice, labels: &[(&str, &[&str])]) -> Expression {
    let (key, values) = dice.pick(labels);
    let key = key.to_owned();
    let value = dice.pick(values).to_owned();
    let all: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
    // A piece of a value; labels are ASCII.
    let head = value.chars().take(1).collect();
    let tail = value.chars().rev().take(1).collect();
    match dice.below(16) {
        0..=2 => All,
        3 => Has(key),
        4..=7 => Is(key, value),
        8 | 9 => IsNot(key, value),
        10 => In(key, dice.some(&all, 2)),
        11 => NotIn(key, dice.some(&all, 2)),
        12 => Contains(key, head),
        13 => StartsWith(key, head),
        14 => EndsWith(key, tail),
        _ => In(key, Vec::new()),
    }
}
