//! Owned tables: while the daemon lives, no other process can change or flush them; when it ends, they stay.
//!
//! Kernels since 6.9 have both flags (`NFT_TABLE_F_OWNER`, `NFT_TABLE_F_PERSIST`). A table is owned by the socket that made
//! or took it; once that is closed the table is an *orphan*: whoever may change nf_tables may change it, or take it.

use crate::{
    Netfilter, ReadError,
    commit::control,
    encode::{flag, table_name},
    kernel::{OWNED_AND_PERSISTENT, PERSISTENT},
    message::Messages,
    native::NativeTable,
    read::Told,
    socket::Wait,
};
use palisade_ruleset::ir::TableName;
use std::io;

/// Our tables cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// They could not be looked at.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Somebody else owns one.
    #[error("table `{}` belongs to {}", table.as_str(), program(*owner))]
    Taken {
        /// Which one.
        table: TableName,
        /// The port of the owner's socket, which most often is its pid.
        owner: Option<u32>,
    },
    /// The kernel refused for another reason.
    #[error("the kernel does not give us table `{}`: {}", table.as_str(), io::Error::from_raw_os_error(*.errno))]
    Refused {
        /// Which one.
        table: TableName,
        /// Positive.
        errno: i32,
    },
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
}

fn program(owner: Option<u32>) -> String {
    let Some(port) = owner else {
        return "another program".to_owned();
    };
    match std::fs::read_to_string(format!("/proc/{port}/comm")) {
        Ok(name) => format!(
            "another program, by its port `{}` (pid {port})",
            name.trim()
        ),
        Err(_) => format!("another program (netlink port {port})"),
    }
}

impl Netfilter {
    /// Owns our tables from now on, where this kernel has owned and persistent tables: those that are there, and those that
    /// plans make. Whether it has them. A table of an older version, without flags, reads as one that must be made anew.
    ///
    /// # Errors
    /// When somebody else owns one, or the kernel cannot be asked. Tables taken before stay taken.
    pub fn own(&mut self) -> Result<bool, OwnError> {
        if self.sharing || !self.can_own()? {
            return Ok(false);
        }
        for table in TableName::ALL {
            let told = self.attempts(|this| this.told(table))?;
            match told {
                Some(told) if self.owns_as_told(&told) => {}
                Some(Told {
                    owner: owner @ Some(_),
                    ..
                }) => return Err(OwnError::Taken { table, owner }),
                Some(told) if told.flags & PERSISTENT != 0 => self.take(table)?,
                _ => {}
            }
        }
        self.owned = true;
        Ok(true)
    }

    /// Never owns its tables, should `sharing` be true: [`Self::own`] then finds that it cannot.
    #[must_use]
    pub fn sharing(mut self, sharing: bool) -> Self {
        self.sharing = sharing;
        self
    }

    /// Whether it owns its tables.
    pub fn owns(&self) -> bool {
        self.owned
    }

    pub(crate) fn owns_as_told(&self, told: &Told) -> bool {
        told.owner == Some(self.port()) && told.flags & OWNED_AND_PERSISTENT == OWNED_AND_PERSISTENT
    }

    /// Takes an orphan, in a transaction of its own: the kernel refuses new base chains behind it.
    fn take(&mut self, table: TableName) -> Result<(), OwnError> {
        let mut pen = self.writer.lock();
        let pen = &mut *pen;
        let first = pen.socket.sequences(3);
        pen.buffer.clear();
        pen.buffer.begin(first);
        NativeTable::new(table_name(table), OWNED_AND_PERSISTENT).write(
            &mut pen.buffer,
            0,
            first.wrapping_add(1),
        );
        pen.buffer.end(first.wrapping_add(2), flag::ACK);
        let mut refused = None;
        pen.send(|message, _| refused = refused.or(message.errno()))?;
        match refused {
            None => Ok(()),
            Some(libc::EPERM) => Err(OwnError::Taken { table, owner: None }),
            Some(errno) => Err(OwnError::Refused { table, errno }),
        }
    }

    /// Tries in a transaction that never happens, because its last message is always refused.
    fn can_own(&mut self) -> Result<bool, ReadError> {
        use nftnl::{Chain, MsgType, ProtoFamily, Rule, Table};
        let first = self.socket.sequences(4);
        let at = |message: u32| first.wrapping_add(message);
        let probe = c"palisade-probe";
        self.buffer.clear();
        self.buffer.begin(first);
        NativeTable::new(probe, OWNED_AND_PERSISTENT).write(&mut self.buffer, flag::CREATE, at(1));
        let table = Table::new(probe, ProtoFamily::Inet);
        let missing = Chain::new(c"missing", &table);
        let create = flag::CREATE | flag::APPEND;
        self.buffer
            .object(&Rule::new(&missing), MsgType::Add, at(2), create);
        self.buffer.end(at(3), 0);
        self.socket.drain()?;
        self.socket.send(self.buffer.bytes())?;
        let (mut able, mut refused) = (true, false);
        while let Some(datagram) = self.socket.receive(Wait::Never)? {
            for message in Messages(datagram).filter(|message| message.kind == control::ERROR) {
                able &= message.sequence != at(1);
                refused |= message.sequence == at(2);
            }
        }
        if refused || !able {
            Ok(able)
        } else {
            Err(ReadError::Malformed("a probe for owned tables"))
        }
    }
}
