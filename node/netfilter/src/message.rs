//! Netlink messages and attributes as they come from the kernel: pure, total on any bytes.

/// One netlink message, header taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Port of the socket whose request this is about.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

pub(crate) const HEADER: usize = 16;
/// `nfgenmsg`, at the front of every netfilter message.
pub(crate) const GENERIC: usize = 4;

impl<'a> Message<'a> {
    /// The operation within nf_tables; absent for messages of netlink itself or of other subsystems.
    pub(crate) const fn nf_tables(&self) -> Option<u16> {
        if self.kind >> 8 == crate::kernel::SUBSYSTEM {
            Some(self.kind & 0xff)
        } else {
            None
        }
    }

    /// The family of a netfilter message.
    pub(crate) fn family(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// The attributes of a netfilter message.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.payload.get(GENERIC..).unwrap_or_default())
    }

    /// Error number of `NLMSG_ERROR` and `NLMSG_DONE`, positive; 0: an acknowledgement.
    pub(crate) fn errno(&self) -> Option<i32> {
        self.payload
            .first_chunk()
            .map(|bytes| i32::from_ne_bytes(*bytes).saturating_neg())
    }

    /// Where in the refused message the kernel found fault, in bytes from its header (`NLMSGERR_ATTR_OFFS`).
    pub(crate) fn fault(&self) -> Option<usize> {
        const CAPPED: u16 = 0x100;
        const TLVS: u16 = 0x200;
        if self.flags & TLVS == 0 {
            return None;
        }
        let original = self.payload.get(4..)?;
        let skip = if self.flags & CAPPED == 0 {
            usize::try_from(word(original)?).ok()?
        } else {
            HEADER
        };
        let [_, _, offset] = Attributes(original.get(align(skip)..)?).table::<3>();
        usize::try_from(word(offset?)?).ok()
    }
}

/// The messages of one datagram; ends at the first that does not fit.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header: &[u8; HEADER] = self.0.first_chunk()?;
        let length = usize::try_from(word(header)?).ok()?;
        let payload = self.0.get(HEADER..length)?;
        let half = |at: usize| Some(u16::from_ne_bytes(*header.get(at..)?.first_chunk()?));
        let message = Message {
            kind: half(4)?,
            flags: half(6)?,
            sequence: word(header.get(8..)?)?,
            port: word(header.get(12..)?)?,
            payload,
        };
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(message)
    }
}

/// Attributes, one after the other; ends at the first that does not fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    /// By number; the last one wins, as in the kernel. Numbers of `N` and above are left out.
    pub(crate) fn table<const N: usize>(self) -> [Option<&'a [u8]>; N] {
        let mut table = [None; N];
        for (kind, value) in self {
            if let Some(slot) = table.get_mut(usize::from(kind)) {
                *slot = Some(value);
            }
        }
        table
    }

    /// One attribute.
    pub(crate) fn get(self, kind: usize) -> Option<&'a [u8]> {
        self.into_iter()
            .find_map(|(k, value)| (usize::from(k) == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        /// Without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
        const KIND: u16 = 0x3fff;
        let [a, b, c, d] = *self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & KIND, value))
    }
}

/// Lengths are padded to four bytes.
pub(crate) const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// The first four bytes, in the machine's order.
pub(crate) fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An attribute of four bytes, in network order.
pub(crate) fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// An attribute of eight bytes, in network order.
pub(crate) fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// A string up to its zero byte.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end)?).ok()
}
