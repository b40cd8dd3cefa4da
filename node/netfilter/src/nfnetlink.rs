//! Messages to netfilter's other subsystems, written by hand: a header and attributes of plain bytes.

use crate::{
    commit::control,
    message::{HEADER, Messages, align},
    socket::{Socket, Wait},
};
use std::io;

/// Messages to be sent together.
#[derive(Default, Debug)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// Where the message under construction begins.
    start: usize,
}

/// `NLM_F_REQUEST`, `NLM_F_ACK`.
const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;

impl Outgoing {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins another message; `resource` is a queue's or group's number, and family any.
    pub(crate) fn begin(&mut self, kind: u16, flags: u16, sequence: u32, resource: u16) {
        self.start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([0, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.finish();
    }

    /// Adds an attribute to it. At most 64 KiB.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(align(self.bytes.len()), 0);
        self.finish();
    }

    fn finish(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        if let Some(slot) = self.bytes.get_mut(self.start..self.start + 4) {
            slot.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// Sends messages that each ask for an acknowledgement, numbered from `first`, and waits for all of them. Datagrams with
/// anything else are kept aside: packets may come as soon as there is someone to take them.
pub(crate) fn configure(
    socket: &mut Socket,
    outgoing: &Outgoing,
    first: u32,
    count: u32,
) -> io::Result<Vec<Vec<u8>>> {
    socket.send(outgoing.bytes())?;
    let (mut aside, mut answered) = (Vec::new(), 0);
    while answered < count {
        let Some(datagram) = socket.receive(Wait::Until)? else {
            continue;
        };
        let mut kept = false;
        for message in Messages(datagram) {
            if message.kind != control::ERROR {
                kept = true;
            } else if message.sequence.wrapping_sub(first) < count {
                match message.errno() {
                    Some(0) => answered += 1,
                    errno => {
                        let errno = errno.unwrap_or(libc::EPROTO);
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                }
            }
        }
        if kept && datagram.len() > HEADER {
            aside.push(datagram.to_vec());
        }
    }
    Ok(aside)
}

/// An attribute of two bytes, in network order.
pub(crate) fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}
