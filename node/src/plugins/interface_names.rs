//! Names of interfaces by the kernel's index, asked for as packets come.

use palisade_policy::ids::IfName;
use rustix::net::{AddressFamily, SocketType, netdevice::index_to_name, socket};
use std::{collections::HashMap, io, os::fd::OwnedFd};

/// A memory of names that is good for one batch of packets: an interface can be renamed at any moment.
#[derive(Debug)]
pub struct Names {
    socket: OwnedFd,
    known: HashMap<u32, Option<IfName>>,
}

impl Names {
    /// Of the network namespace of the calling thread.
    ///
    /// # Errors
    /// There is no socket to ask through.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: socket(AddressFamily::UNIX, SocketType::DGRAM, None)?,
            known: HashMap::new(),
        })
    }

    /// The name; `None`: there is no such interface any more.
    pub fn get(&mut self, index: u32) -> Option<IfName> {
        let socket = &self.socket;
        let known = self.known.entry(index);
        known
            .or_insert_with(|| {
                let name = index_to_name(socket, index).ok()?;
                Some(IfName::from(name.as_str()))
            })
            .clone()
    }

    /// Asks anew from now on.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_name_and_what_is_not_there_has_none() {
        let mut names = Names::open().expect("a socket");
        assert_eq!(names.get(1), Some("lo".into()));
        assert_eq!(names.get(u32::MAX - 1), None);
    }
}
