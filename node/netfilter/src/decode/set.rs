//! Sets, maps and their elements, from their messages.

use super::instruction::verdict;
use crate::{
    encode::{Key, shape_of, value_of},
    kernel::{attribute as a, set as flag},
    message::{Attributes, be32, text},
};
use palisade_ruleset::ir::{Element, SetName, Shape, Verdict};

/// What a set is, without its elements.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Definition {
    pub(crate) name: SetName,
    /// Absent: not a set that we make.
    pub(crate) shape: Option<Shape>,
    pub(crate) interval: bool,
    /// To verdicts.
    pub(crate) map: bool,
}

/// A definition; absent when the message makes no sense.
pub(crate) fn definition(attributes: Attributes<'_>) -> Option<Definition> {
    let table = attributes.table::<8>();
    let number = |at: usize| table.get(at).copied().flatten().and_then(be32);
    let flags = number(a::SET_FLAGS).unwrap_or(0);
    let map = flags & flag::MAP != 0;
    let timeout = flags & flag::TIMEOUT != 0;
    let leads_to = number(a::SET_DATA_TYPE).filter(|_| map);
    let leads_to_mark = leads_to == Some(flag::DATA_MARK);
    let map = map && !leads_to_mark;
    let ours = flags & !(flag::MAP | flag::INTERVAL | flag::TIMEOUT) == 0
        && (!map || leads_to == Some(flag::DATA_VERDICT));
    let shape = number(a::SET_KEY_TYPE)
        .zip(number(a::SET_KEY_LEN))
        .and_then(|(kind, length)| shape_of(kind, length, leads_to_mark));
    Some(Definition {
        name: SetName::new(text(table[a::SET_NAME]?)?),
        shape: shape.filter(|shape| ours && shape.is_volatile() == timeout),
        interval: flags & flag::INTERVAL != 0,
        map,
    })
}

/// An element as the kernel holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RawElement {
    pub(crate) key: Key,
    /// The first key behind a range.
    pub(crate) end: bool,
    pub(crate) verdict: Option<Verdict>,
}

/// The elements of a message; absent when one of them makes no sense.
pub(crate) fn elements(attributes: Attributes<'_>) -> Option<Vec<RawElement>> {
    let list = attributes.get(a::LIST_ELEMENTS).unwrap_or_default();
    Attributes(list)
        .map(|(_, element)| raw(Attributes(element)))
        .collect()
}

fn raw(attributes: Attributes<'_>) -> Option<RawElement> {
    let table = attributes.table::<4>();
    let key = Attributes(table[a::ELEMENT_KEY]?).get(a::DATA_VALUE)?;
    let flags = table[a::ELEMENT_FLAGS].map_or(Some(0), be32)?;
    let verdict = match table[a::ELEMENT_DATA] {
        None => None,
        Some(data) => match Attributes(data).get(a::DATA_VERDICT) {
            Some(code) => Some(verdict(Attributes(code))?.verdict()?),
            // Of a map to values: a volatile one, whose elements nobody looks at.
            None => None,
        },
    };
    Some(RawElement {
        key: Key::new(key)?,
        end: flags & flag::ELEMENT_INTERVAL_END != 0,
        verdict,
    })
}

/// The elements of a whole set, ranges put together from their ends; absent when they make no sense.
pub(crate) fn assemble(
    shape: Shape,
    interval: bool,
    mut raw: Vec<RawElement>,
) -> Option<Vec<(Element, Option<Verdict>)>> {
    if !interval {
        return raw
            .into_iter()
            .map(|raw| {
                let value = value_of(shape, raw.key.bytes())?;
                (!raw.end).then_some((Element::single(value), raw.verdict))
            })
            .collect();
    }
    // Where one range ends and the next begins, the end comes first.
    raw.sort_by(|x, y| x.key.cmp(&y.key).then(y.end.cmp(&x.end)));
    let mut elements = Vec::new();
    let mut open: Option<RawElement> = None;
    for raw in raw {
        match (open.take(), raw.end) {
            (None, false) => open = Some(raw),
            (Some(start), true) => elements.push(range(shape, start, raw.key.previous())?),
            // nft leaves the end out where the next range touches.
            (Some(start), false) => {
                elements.push(range(shape, start, raw.key.previous())?);
                open = Some(raw);
            }
            // nft puts an end before the first range of a set that it fills.
            (None, true) if elements.is_empty() => {}
            (None, true) => return None,
        }
    }
    if let Some(start) = open {
        elements.push(range(shape, start, None)?);
    }
    Some(elements)
}

/// From a start to the last key of its range; absent: the highest there is.
fn range(shape: Shape, start: RawElement, last: Option<Key>) -> Option<(Element, Option<Verdict>)> {
    let last = match last {
        Some(last) => last,
        None => Key::new(&vec![u8::MAX; start.key.bytes().len()])?,
    };
    let element = Element {
        first: value_of(shape, start.key.bytes())?,
        last: if last == start.key {
            None
        } else {
            Some(value_of(shape, last.bytes())?)
        },
    };
    Some((element, start.verdict))
}
