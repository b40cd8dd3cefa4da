//! What can go wrong between a plan and the kernel.

use palisade_ruleset::ir::TableName;
use std::{fmt, io};

/// A plan was not committed. After `Unfit` and `Refused` the kernel is as it was before; after the others it must be
/// read.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The plan cannot be put into netlink messages; nothing was sent.
    #[error("operation {op} on table `{}`: {reason}", table.as_str())]
    Unfit {
        /// Index in the plan.
        op: usize,
        /// Where.
        table: TableName,
        /// Why.
        reason: Unfit,
    },
    /// The kernel refused; one entry per message it refused, in order.
    #[error("the kernel refused {} of the plan's messages, first: {}", failures.len(), first(failures))]
    Refused {
        /// Not empty.
        failures: Vec<Failure>,
    },
    /// The replies were lost (ENOBUFS): whether the plan was committed must be read back.
    #[error("replies of the kernel were lost")]
    Overrun,
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
}

fn first(failures: &[Failure]) -> String {
    failures.first().map(Failure::to_string).unwrap_or_default()
}

/// One message that the kernel refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Index of the operation in the plan; absent when the transaction as a whole failed.
    pub op: Option<usize>,
    /// Which rule or element of the operation, where the kernel said so.
    pub element: Option<usize>,
    /// As the kernel gave it, positive.
    pub errno: i32,
    /// What was refused: kind, table, and name.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.message,
            io::Error::from_raw_os_error(self.errno)
        )
    }
}

/// Why something of the IR has no encoding. The lowering never makes such a thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// A name with a NUL byte, or longer than 127 bytes, or empty.
    #[error("a name is empty, too long, or holds a zero byte")]
    Name,
    /// An interface name that is empty or longer than 15 bytes.
    #[error("an interface name is not 1 to 15 bytes long")]
    Interface,
    /// A key that is not of its set's shape, or a range in a set without ranges.
    #[error("an element is not of its set's shape")]
    Shape,
    /// A log prefix that is empty, longer than 127 bytes, or holds a NUL byte.
    #[error("a log prefix is not 1 to 127 bytes without a zero byte")]
    Prefix,
    /// An expression that was read back and not understood.
    #[error("a foreign expression")]
    Foreign,
    /// This kernel lets no rule queue packets.
    #[error("this kernel can neither `queue` nor NFQUEUE")]
    NoQueue,
    /// A connection tracking test of no state.
    #[error("a test of no connection tracking state")]
    NoState,
}

/// The kernel could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refused a request.
    #[error("the kernel refused to show {what}: {}", io::Error::from_raw_os_error(*.errno))]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Positive.
        errno: i32,
    },
    /// Someone changed nf_tables during every attempt.
    #[error("nf_tables kept changing while it was read")]
    Changing,
    /// A reply that makes no sense.
    #[error("a malformed reply about {0}")]
    Malformed(&'static str),
}

/// What a plan touched is not as the plan left it.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// It differs, or is missing, or is still there.
    #[error("{what} in table `{}`", table.as_str())]
    Differs {
        /// Where.
        table: TableName,
        /// What, by name.
        what: String,
    },
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
