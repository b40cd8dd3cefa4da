//! Chains and rules, from their messages.

use super::instruction::instruction;
use crate::{
    kernel::attribute as a,
    message::{Attributes, be32, text},
    program::recognise,
};
use palisade_policy::ids::RuleId;
use palisade_ruleset::ir::{Base, ChainName, Expression, Hook, Rule};

/// A chain, and what is foreign about it: a type or policy that we never give.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct ReadChain {
    pub(crate) name: ChainName,
    pub(crate) base: Option<Base>,
    pub(crate) foreign: Option<String>,
}

/// A chain of a message; absent when the message makes no sense.
pub(crate) fn chain(attributes: Attributes<'_>) -> Option<ReadChain> {
    const ACCEPT: u32 = 1;
    let table = attributes.table::<8>();
    let name = ChainName::new(text(table[a::CHAIN_NAME]?)?);
    let Some(hook) = table[a::CHAIN_HOOK] else {
        return Some(ReadChain {
            name,
            base: None,
            foreign: None,
        });
    };
    let hook = Attributes(hook).table::<5>();
    let number = be32(hook[a::HOOK_NUMBER]?)?;
    let priority = i32::from_be_bytes(hook[a::HOOK_PRIORITY]?.try_into().ok()?);
    let kind = table[a::CHAIN_TYPE].and_then(text);
    let policy = table[a::CHAIN_POLICY].and_then(be32);
    let place = match number {
        0 => Some(Hook::Prerouting),
        1 => Some(Hook::Input),
        2 => Some(Hook::Forward),
        3 => Some(Hook::Output),
        4 => Some(Hook::Postrouting),
        _ => None,
    };
    let ours = kind == Some("filter") && policy == Some(ACCEPT) && place.is_some();
    Some(ReadChain {
        name,
        base: Some(Base {
            hook: place.unwrap_or(Hook::Prerouting),
            priority,
        }),
        foreign: (!ours).then(|| format!("type {kind:?} hook {number} policy {policy:?}")),
    })
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
