//! Links and addresses as the kernel writes them: pure, total on any bytes. What does not parse is absent, and whoever
//! reads a dump must not take it for whole then.

use crate::message::{Attributes, word};
use std::{collections::BTreeMap, net::IpAddr};

/// A link and what the daemon needs of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Administratively up, and with a carrier.
    pub up: bool,
    /// The host's own addresses on it, sorted.
    pub addresses: Vec<IpAddr>,
    /// The device that it is a port of.
    pub master: Option<LinkMaster>,
}

/// The device that a link is a port of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkMaster {
    /// Its name; `#` and its index, where it lies in another network namespace.
    pub name: String,
    /// `bridge`, `bond`, `team`, `vrf`, …; empty if the kernel names no kind.
    pub kind: String,
}

/// What a whole read brought: links by index, and addresses with the index of their link.
#[derive(Default, Debug)]
pub(super) struct Found {
    links: BTreeMap<u32, Parsed>,
    addresses: Vec<(u32, IpAddr)>,
}

/// A link as its message says.
#[derive(PartialEq, Eq, Debug)]
struct Parsed {
    name: String,
    up: bool,
    /// Index of its master, and the kind of port that it is.
    master: Option<(u32, String)>,
}

impl Found {
    /// Takes a message about a link (`ifinfomsg` and its attributes).
    pub(super) fn link(&mut self, payload: &[u8]) -> Option<()> {
        const NAME: u16 = 3;
        const MASTER: u16 = 10;
        const INFO: u16 = 18;
        const SLAVE_KIND: u16 = 4;
        /// `IFF_UP | IFF_RUNNING`.
        const UP: u32 = 0x41;
        let (header, attributes) = payload.split_at_checked(16)?;
        let index = word(header.get(4..)?)?;
        let flags = word(header.get(8..)?)?;
        let (mut name, mut master, mut kind) = (String::new(), None, String::new());
        each(attributes, |attribute, value| {
            match attribute {
                NAME => name = printable(value),
                MASTER => master = Some(word(value)?),
                INFO => each(value, |attribute, value| {
                    if attribute == SLAVE_KIND {
                        kind = printable(value);
                    }
                    Some(())
                })?,
                _ => {}
            }
            Some(())
        })?;
        if name.is_empty() {
            return None;
        }
        let parsed = Parsed {
            name,
            up: flags & UP == UP,
            // Index 0 is nobody's: what a link that left its master is told with.
            master: master
                .filter(|index| *index != 0)
                .map(|index| (index, kind)),
        };
        self.links.insert(index, parsed);
        Some(())
    }

    /// Takes a message about an address (`ifaddrmsg` and its attributes); those of other families than IP are passed over.
    pub(super) fn address(&mut self, payload: &[u8]) -> Option<()> {
        const ADDRESS: u16 = 1;
        const LOCAL: u16 = 2;
        let (header, attributes) = payload.split_at_checked(8)?;
        let family = i32::from(*header.first()?);
        let index = word(header.get(4..)?)?;
        let parse = |value: &[u8]| match family {
            libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
            _ => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        };
        if !matches!(family, libc::AF_INET | libc::AF_INET6) {
            return Some(());
        }
        // On a point-to-point link `ADDRESS` is the peer's.
        let (mut own, mut other) = (None, None);
        each(attributes, |attribute, value| {
            match attribute {
                LOCAL => own = Some(parse(value)?),
                ADDRESS => other = Some(parse(value)?),
                _ => {}
            }
            Some(())
        })?;
        self.addresses.extend(own.or(other).map(|own| (index, own)));
        Some(())
    }

    /// Links with their addresses and the names of their masters. An address without a link is one of a link that came
    /// between the two dumps.
    pub(super) fn links(self) -> Vec<Link> {
        let mut addresses: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
        for (index, address) in self.addresses {
            addresses.entry(index).or_default().push(address);
        }
        let master = |(index, kind): &(u32, String)| LinkMaster {
            name: match self.links.get(index) {
                Some(link) => link.name.clone(),
                None => format!("#{index}"),
            },
            kind: kind.clone(),
        };
        let links = self.links.iter().map(|(index, link)| {
            let mut addresses = addresses.remove(index).unwrap_or_default();
            addresses.sort_unstable();
            addresses.dedup();
            Link {
                name: link.name.clone(),
                up: link.up,
                addresses,
                master: link.master.as_ref().map(master),
            }
        });
        links.collect()
    }
}

/// Reads attributes to their end; absent if one cannot be read, or something is left that is none.
fn each(bytes: &[u8], mut take: impl FnMut(u16, &[u8]) -> Option<()>) -> Option<()> {
    let mut attributes = Attributes(bytes);
    for (kind, value) in attributes.by_ref() {
        take(kind, value)?;
    }
    attributes.0.is_empty().then_some(())
}

/// A name up to its zero byte. The kernel lets names be any bytes, and no policy can name what is not printable: such a
/// byte becomes `?`, so that one odd link does not hide all others.
fn printable(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let printed = name.iter().map(|byte| match byte {
        byte if byte.is_ascii_graphic() => char::from(*byte),
        _ => '?',
    });
    printed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_message_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut found = Found::default();
            let _ = found.link(&bytes);
            let _ = found.address(&bytes);
            let _ = found.links();
        }
    }

    /// Attributes, padded as the kernel pads them.
    fn attributes(of: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, value) in of {
            let length = u16::try_from(value.len() + 4).expect("short");
            bytes.extend(length.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn link(index: u32, flags: u32, of: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(index.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(attributes(of));
        bytes
    }

    fn address(family: i32, index: u32, of: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(family).expect("small"), 24, 0, 0];
        bytes.extend(index.to_ne_bytes());
        bytes.extend(attributes(of));
        bytes
    }

    #[test]
    fn a_link_has_its_own_address_not_its_peers_and_those_of_no_other() {
        let mut found = Found::default();
        let tun = link(3, 0x41, &[(3, b"tun0\0")]);
        assert_eq!(found.link(&tun), Some(()));
        let both = [(1, &[10, 0, 0, 2][..]), (2, &[10, 0, 0, 1])];
        for message in [
            address(libc::AF_INET, 3, &both),
            address(libc::AF_INET, 4, &both),
            address(libc::AF_PHONET, 3, &[(2, &[1])]),
        ] {
            assert_eq!(found.address(&message), Some(()));
        }
        let expected = Link {
            name: "tun0".to_owned(),
            up: true,
            addresses: vec![[10, 0, 0, 1].into()],
            master: None,
        };
        assert_eq!(found.links(), [expected]);
    }

    #[test]
    fn a_link_without_carrier_is_not_up_and_a_port_names_its_master() {
        let mut found = Found::default();
        let info = attributes(&[(4, b"bridge\0")]);
        let port = |master: u32| {
            [
                (3, b"eth\xff\0".to_vec()),
                (10, master.to_ne_bytes().to_vec()),
                (18, info.clone()),
            ]
        };
        for (index, master) in [(2, 9), (3, 77), (4, 0)] {
            let port = port(master);
            let port: Vec<(u16, &[u8])> = port.iter().map(|(k, v)| (*k, &v[..])).collect();
            assert_eq!(found.link(&link(index, 1, &port)), Some(()));
        }
        assert_eq!(found.link(&link(9, 0x41, &[(3, b"br0\0")])), Some(()));
        let links = found.links();
        let told: Vec<_> = links
            .iter()
            .map(|link| {
                let master = link.master.as_ref();
                (&*link.name, link.up, master.map(|m| (&*m.name, &*m.kind)))
            })
            .collect();
        let expected = [
            ("eth?", false, Some(("br0", "bridge"))),
            ("eth?", false, Some(("#77", "bridge"))),
            ("eth?", false, None),
            ("br0", true, None),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_cut_off_or_wrong_is_not_read() {
        let whole = link(3, 0x41, &[(3, b"eth0\0"), (10, &[9, 0, 0, 0])]);
        let nameless = link(3, 0x41, &[(10, &[9, 0, 0, 0])]);
        let odd = link(3, 0x41, &[(3, b"eth0\0"), (10, &[9])]);
        for bytes in [&nameless, &odd] {
            assert_eq!(Found::default().link(bytes), None);
        }
        // Up to the end of its name, or of the padding behind, it is a shorter message that is whole.
        let shorter = 25..=28;
        for end in (0..whole.len()).filter(|end| !shorter.contains(end)) {
            assert_eq!(Found::default().link(&whole[..end]), None, "{end}");
        }
        let short = address(libc::AF_INET6, 3, &[(1, &[10, 0, 0, 1])]);
        assert_eq!(Found::default().address(&short), None);
    }
}
