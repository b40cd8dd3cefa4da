//! Requests for reading: a header and a few attributes, written by hand.

use crate::{kernel, message::align};

/// Messages to be sent together.
#[derive(Default, Debug)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
}

/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;

impl Requests {
    /// One message that asks for everything that fits the given attributes.
    pub(crate) fn dump(kind: u16, sequence: u32, attributes: &[(usize, &str)]) -> Self {
        let mut requests = Self::default();
        requests.push(kind, DUMP, sequence, attributes);
        requests
    }

    /// Another message that asks for one thing.
    pub(crate) fn get(&mut self, kind: u16, sequence: u32, attributes: &[(usize, &str)]) {
        self.push(kind, 0, sequence, attributes);
    }

    /// A message written elsewhere.
    pub(crate) fn append(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn push(&mut self, kind: u16, flags: u16, sequence: u32, attributes: &[(usize, &str)]) {
        const REQUEST: u16 = 1;
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        let kind = kernel::SUBSYSTEM << 8 | kind;
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([kernel::INET, 0, 0, 0]);
        for (attribute, text) in attributes {
            // Names come from the kernel or were refused when they were longer than 127 bytes.
            let (Ok(length), Ok(attribute)) =
                (u16::try_from(text.len() + 5), u16::try_from(*attribute))
            else {
                continue;
            };
            self.bytes.extend(length.to_ne_bytes());
            self.bytes.extend(attribute.to_ne_bytes());
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.push(0);
            let end = start + align(self.bytes.len() - start);
            self.bytes.resize(end, 0);
        }
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(slot) = self.bytes.get_mut(start..start + 4) {
            slot.copy_from_slice(&length.to_ne_bytes());
        }
    }
}
