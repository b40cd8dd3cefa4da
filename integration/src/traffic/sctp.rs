//! SCTP byte by byte, for kernels that filter and track it but have no sockets for it: the first exchange of an
//! association (RFC 9260, INIT and INIT ACK), with question and answer as a parameter that nobody else reads.

/// Its IP protocol number.
pub(super) const NUMBER: u8 = 132;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
/// Of a type whose highest bits tell a receiver to skip it in silence.
const PARAMETER: u16 = 0x9abc;
/// Common header, and chunk header with the fixed fields of both chunks.
const HEADER: usize = 12;
const FIXED: usize = 20;

/// What a chunk of the exchange says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting<'a> {
    /// Port it comes from.
    pub(super) from: u16,
    /// Port it goes to.
    pub(super) to: u16,
    /// The tag that the other side must use, by which connection tracking knows it.
    pub(super) tag: u32,
    /// Question or answer.
    pub(super) text: &'a [u8],
}

impl Greeting<'_> {
    /// A packet that asks for an association.
    pub(super) fn init(&self) -> Vec<u8> {
        self.packet(INIT, 0)
    }

    /// A packet that accepts what was asked with the tag.
    pub(super) fn init_ack(&self, asked_with: u32) -> Vec<u8> {
        self.packet(INIT_ACK, asked_with)
    }

    fn packet(&self, chunk: u8, verification: u32) -> Vec<u8> {
        let short = |length: usize| {
            let length = u16::try_from(length).expect("probes are small");
            length.to_be_bytes()
        };
        let mut packet = [self.from.to_be_bytes(), self.to.to_be_bytes()].concat();
        packet.extend(verification.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend([chunk, 0]);
        packet.extend(short(FIXED + 4 + self.text.len()));
        packet.extend(self.tag.to_be_bytes());
        // Window, streams out and in, first number of data.
        packet.extend([0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
        packet.extend(PARAMETER.to_be_bytes());
        packet.extend(short(4 + self.text.len()));
        packet.extend_from_slice(self.text);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let sum = crc32c(&packet).to_le_bytes();
        packet[8..HEADER].copy_from_slice(&sum);
        packet
    }
}

/// What a packet that asks for an association says; `None` for any other.
pub(super) fn asked(packet: &[u8]) -> Option<Greeting<'_>> {
    parse(packet, INIT)
}

/// What a packet that accepts an association says; `None` for any other.
pub(super) fn accepted(packet: &[u8]) -> Option<Greeting<'_>> {
    parse(packet, INIT_ACK)
}

fn parse(packet: &[u8], chunk: u8) -> Option<Greeting<'_>> {
    let (from, to) = super::craft::ports(packet)?;
    let body = packet.get(HEADER..)?;
    if *body.first()? != chunk {
        return None;
    }
    let tag = u32::from_be_bytes(body.get(4..8)?.try_into().ok()?);
    let parameter = body.get(FIXED..)?;
    let length = u16::from_be_bytes(parameter.get(2..4)?.try_into().ok()?);
    let text = parameter.get(4..usize::from(length))?;
    Some(Greeting {
        from,
        to,
        tag,
        text,
    })
}

/// Castagnoli's, as RFC 9260 appendix A asks for it.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(sum & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_parses_back_as_what_it_is() {
        let greeting = Greeting {
            from: 40_000,
            to: 8055,
            tag: 7,
            text: b"ask 1.2\n",
        };
        let (init, ack) = (greeting.init(), greeting.init_ack(9));
        assert_eq!((asked(&init), accepted(&init)), (Some(greeting), None));
        assert_eq!((asked(&ack), accepted(&ack)), (None, Some(greeting)));
        assert_eq!(asked(&init[..30]), None);
    }

    #[test]
    fn the_checksum_is_that_of_the_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
