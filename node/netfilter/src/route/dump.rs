//! One dump as its datagrams come: pure, so that every way to break off is tried.

use crate::{ReadError, commit::control, message::Messages};
use std::io;

/// A dump under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dump {
    /// For people.
    pub(super) what: &'static str,
    /// The kind of its messages.
    pub(super) answer: u16,
    /// The number of the request.
    pub(super) sequence: u32,
}

/// Why a dump shows nothing.
#[derive(Debug)]
pub(super) enum Ended {
    /// Something changed while it was made: another one may be whole.
    Interrupted,
    /// It failed.
    Failed(ReadError),
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Dump {
    /// The next datagram; `each` takes a message's payload, if it can be read. Absent: more will come. After an error the
    /// rest of the dump is still to be drained.
    pub(super) fn take(
        self,
        datagram: &[u8],
        each: &mut impl FnMut(&[u8]) -> Option<()>,
    ) -> Option<Result<(), Ended>> {
        const INTERRUPTED: u16 = 0x10;
        let malformed = || Some(Err(ReadError::Malformed(self.what).into()));
        let mut messages = Messages(datagram);
        for message in messages.by_ref() {
            if message.sequence != self.sequence {
                continue;
            }
            if message.flags & INTERRUPTED != 0 {
                return Some(Err(Ended::Interrupted));
            }
            match message.kind {
                control::DONE | control::ERROR => return Some(self.end(message.errno())),
                kind if kind == self.answer && each(message.payload).is_some() => {}
                _ => return malformed(),
            }
        }
        if messages.0.is_empty() {
            None
        } else {
            malformed()
        }
    }

    fn end(self, errno: Option<i32>) -> Result<(), Ended> {
        let what = self.what;
        match errno {
            Some(0) => Ok(()),
            Some(libc::EINTR | libc::EAGAIN) => Err(Ended::Interrupted),
            Some(errno) => Err(ReadError::Refused { what, errno }.into()),
            None => Err(ReadError::Malformed(what).into()),
        }
    }
}

#[cfg(test)]
mod tests;
