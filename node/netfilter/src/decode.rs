//! Attributes of the kernel back to the IR: pure, total on any bytes.

mod instruction;
mod object;
mod set;

pub(crate) use object::{FOREIGN, ReadChain, chain, rule};
pub(crate) use set::{Definition, RawElement, assemble, definition, elements};

#[cfg(test)]
mod tests {
    use super::{assemble, chain, definition, elements, rule};
    use crate::message::{Attributes, HEADER, Messages};
    use palisade_ruleset::ir::Shape;
    use proptest::prelude::*;

    /// Bytes that look like attributes within attributes, with lengths that may lie.
    fn attributes() -> impl Strategy<Value = Vec<u8>> {
        let leaf = proptest::collection::vec(any::<u8>(), 0..20);
        leaf.prop_recursive(5, 64, 5, |inner| {
            let one = (0..12_u16, 0..3_u16, inner);
            proptest::collection::vec(one, 0..5).prop_map(|parts| {
                let mut bytes = Vec::new();
                for (kind, lie, value) in parts {
                    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
                    bytes.extend((length + lie / 2).to_ne_bytes());
                    bytes.extend(kind.to_ne_bytes());
                    bytes.extend(value);
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                }
                bytes
            })
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for message in Messages(&bytes) {
                let _ = (message.errno(), message.fault());
                let _ = crate::encode::element_at(&bytes, bytes.len() / 2);
            }
            let _ = crate::encode::element_at(&bytes, HEADER);
        }

        #[test]
        fn any_attributes_are_survived(bytes in attributes(), interval in any::<bool>()) {
            let attributes = Attributes(&bytes);
            let _ = (chain(attributes), rule(attributes), definition(attributes));
            if let Some(raw) = elements(attributes) {
                for shape in [Shape::Port, Shape::Interface, Shape::Position] {
                    let _ = assemble(shape, interval, raw.clone());
                }
            }
        }
    }
}
