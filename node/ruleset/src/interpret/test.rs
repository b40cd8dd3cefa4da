//! Whether an expression that tests holds, and what maps and sets say of a key.

use super::facts::Facts;
use crate::ir::{Element, Expression, IcmpTest, Key, Map, Set, State, Value, Verdict};
use palisade_policy::rule::family_of;

impl Facts {
    /// Effects hold. What cannot be loaded does not, negated or not.
    pub(super) fn holds(&self, expression: &Expression) -> bool {
        match expression {
            Expression::Family(family) => *family == self.family(),
            Expression::Protocol { protocol, not } => (*protocol == self.protocol) != *not,
            Expression::Interface { side, name, not } => self
                .interface(*side)
                .is_some_and(|interface| (interface == name) != *not),
            Expression::InterfacePrefix { side, prefix } => self
                .interface(*side)
                .is_some_and(|interface| interface.as_str().starts_with(prefix)),
            Expression::NotLocal => !self.local,
            Expression::Net { end, net, not } => self
                .address(family_of(net), *end)
                .is_some_and(|address| net.contains(&address) != *not),
            Expression::Port { end, range, not } => self
                .port(*end)
                .is_some_and(|port| range.contains(port) != *not),
            Expression::Icmp(test) => self.icmp_holds(test),
            Expression::CtState(states) => states.contains(&self.state),
            Expression::CtDnat => self.dnat == Some(true),
            // A packet that is new is taken for the first of its flow.
            Expression::CtUnconfirmed => self.dnat.is_some() && self.state == State::New,
            Expression::Mark { mask, value } => self.mark & mask == *value,
            // These are asked where maps and sets are at hand.
            Expression::VerdictMap { .. }
            | Expression::Lookup { .. }
            | Expression::SetMark { .. }
            | Expression::MapMark { .. }
            | Expression::Notrack
            | Expression::Counter
            | Expression::Limit { .. }
            | Expression::Log { .. }
            | Expression::Queue(_)
            | Expression::Verdict(_)
            | Expression::Reject
            | Expression::Foreign(_) => true,
        }
    }

    /// Whether the key can be loaded and is in the set, or is not.
    pub(super) fn is_in(&self, key: Key, set: &Set, not: bool) -> bool {
        let within = |value: &Value| {
            self.daemon_has(set.shape, value)
                .unwrap_or_else(|| has(set, value))
        };
        self.load(key).is_some_and(|value| within(&value) != not)
    }

    fn icmp_holds(&self, test: &IcmpTest) -> bool {
        self.icmp.is_some_and(|(icmp_type, code)| {
            let is = icmp_type == test.icmp_type && test.code.is_none_or(|c| c == code);
            is != test.not
        })
    }
}

fn has(set: &Set, value: &Value) -> bool {
    if !set.interval {
        return set.elements.contains(&Element::single(value.clone()));
    }
    let below = set.elements.range(..=highest(value)).next_back();
    below.is_some_and(|element| covers(element, value))
}

/// The verdict of the key; `None`: a miss.
pub(super) fn find<'a>(map: &'a Map, value: &Value) -> Option<&'a Verdict> {
    if !map.interval {
        return map.elements.get(&Element::single(value.clone()));
    }
    let below = map.elements.range(..=highest(value)).next_back();
    below
        .filter(|(element, _)| covers(element, value))
        .map(|(_, verdict)| verdict)
}

/// Not below any element that begins with the value.
fn highest(value: &Value) -> Element {
    Element {
        first: value.clone(),
        last: Some(Value::Position(Box::new([u8::MAX; 64]))),
    }
}

fn covers(element: &Element, value: &Value) -> bool {
    element.first <= *value && *value <= *element.last.as_ref().unwrap_or(&element.first)
}
