//! Chains and rules, from their messages.

use super::instruction::instruction;
use crate::{
    kernel::attribute as a,
    message::{Attributes, be32, text},
    program::recognise,
};
use palisade_policy::ids::RuleId;
use palisade_ruleset::ir::{Base, ChainName, Expression, Hook, Rule};

/// A chain, without its rules.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct ReadChain {
    pub(crate) name: ChainName,
    pub(crate) base: Option<Base>,
}

/// A base that is never desired, so that what reads so is replaced.
pub(crate) const FOREIGN: Base = Base {
    hook: Hook::Prerouting,
    priority: i32::MIN,
};

/// A chain of a message; absent when the message makes no sense. A type or hook that we never give reads as
/// [`FOREIGN`]. The policy is not looked at: every base chain of ours ends in a verdict, so that none is ever reached.
pub(crate) fn chain(attributes: Attributes<'_>) -> Option<ReadChain> {
    let table = attributes.table::<8>();
    let name = ChainName::new(text(table[a::CHAIN_NAME]?)?);
    let base = match table[a::CHAIN_HOOK] {
        None => None,
        Some(hook) => {
            let hook = Attributes(hook).table::<5>();
            let number = be32(hook[a::HOOK_NUMBER]?)?;
            let priority = i32::from_be_bytes(hook[a::HOOK_PRIORITY]?.try_into().ok()?);
            let filter = table[a::CHAIN_TYPE].and_then(text) == Some("filter");
            let hook = hook_of(number).filter(|_| filter);
            Some(hook.map_or(FOREIGN, |hook| Base { hook, priority }))
        }
    };
    Some(ReadChain { name, base })
}

const fn hook_of(number: u32) -> Option<Hook> {
    match number {
        0 => Some(Hook::Prerouting),
        1 => Some(Hook::Input),
        2 => Some(Hook::Forward),
        3 => Some(Hook::Output),
        4 => Some(Hook::Postrouting),
        _ => None,
    }
}

/// The chain of a rule, and the rule.
pub(crate) fn rule(attributes: Attributes<'_>) -> Option<(ChainName, Rule)> {
    let table = attributes.table::<8>();
    let chain = ChainName::new(text(table[a::RULE_CHAIN]?)?);
    let program: Vec<_> = Attributes(table[a::RULE_EXPRESSIONS].unwrap_or_default())
        .map(|(_, expression)| instruction(Attributes(expression)))
        .collect();
    let mut expressions = recognise(&program);
    let id = match table[a::RULE_USERDATA] {
        None => None,
        Some(userdata) => match comment(userdata) {
            Some(id) => Some(id),
            None => {
                expressions.push(Expression::Foreign("comment".to_owned()));
                None
            }
        },
    };
    Some((chain, Rule { expressions, id }))
}

/// A rule id in nft's record of a comment: type 0, length, 16 hex digits and a zero byte.
fn comment(userdata: &[u8]) -> Option<RuleId> {
    let [0, 17, digits @ .., 0] = userdata else {
        return None;
    };
    let digits = std::str::from_utf8(digits).ok()?;
    let id = RuleId(u64::from_str_radix(digits, 16).ok()?);
    (id.to_string() == digits).then_some(id)
}
