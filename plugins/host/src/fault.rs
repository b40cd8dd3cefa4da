//! What can go wrong in a call of a plugin. Whoever calls applies the failure policy; nothing else follows from it.

use std::time::Duration;

use crate::problem::Problem;

/// Why a call gave no answer. The instance it happened in is gone, except where the plugin was not called at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The plugin panicked or did what the sandbox stops.
    #[error("trapped: {reason}")]
    Trap {
        /// The kind of trap, and what the plugin last wrote to standard error, which is a panic's message.
        reason: String,
    },
    /// It used up its fuel: too much work for one call.
    #[error("used up its fuel of {fuel}")]
    OutOfFuel {
        /// What it had.
        fuel: u64,
    },
    /// It took too long by the clock.
    #[error("took longer than {} ms", .deadline.as_millis())]
    Deadline {
        /// What it had.
        deadline: Duration,
    },
    /// It wanted more memory than it may have, and gave up.
    #[error("wanted more than its {bytes} bytes of memory")]
    OutOfMemory {
        /// What it may have.
        bytes: usize,
    },
    /// Its answer is against the contract.
    #[error("gave a wrong answer: {reason}")]
    WrongAnswer {
        /// In which way.
        reason: String,
    },
    /// It refused settings that were accepted before.
    #[error("refused its settings")]
    Settings(Vec<Problem>),
    /// It could not be instantiated.
    #[error("could not be instantiated: {reason}")]
    Instantiate {
        /// Why.
        reason: String,
    },
    /// It was not called: it failed too often and is set aside.
    #[error("is set aside for another {} ms after repeated faults", .remaining.as_millis())]
    SetAside {
        /// Until it is tried again.
        remaining: Duration,
    },
}

/// A fault without its particulars: the label of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "as the variants of `Fault`")]
pub enum FaultKind {
    Trap,
    OutOfFuel,
    Deadline,
    OutOfMemory,
    WrongAnswer,
    Settings,
    Instantiate,
    SetAside,
}

impl FaultKind {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Trap,
        Self::OutOfFuel,
        Self::Deadline,
        Self::OutOfMemory,
        Self::WrongAnswer,
        Self::Settings,
        Self::Instantiate,
        Self::SetAside,
    ];

    /// As written in metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfFuel => "out-of-fuel",
            Self::Deadline => "deadline",
            Self::OutOfMemory => "out-of-memory",
            Self::WrongAnswer => "wrong-answer",
            Self::Settings => "settings",
            Self::Instantiate => "instantiate",
            Self::SetAside => "set-aside",
        }
    }
}

impl Fault {
    /// The kind.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Trap { .. } => FaultKind::Trap,
            Self::OutOfFuel { .. } => FaultKind::OutOfFuel,
            Self::Deadline { .. } => FaultKind::Deadline,
            Self::OutOfMemory { .. } => FaultKind::OutOfMemory,
            Self::WrongAnswer { .. } => FaultKind::WrongAnswer,
            Self::Settings(_) => FaultKind::Settings,
            Self::Instantiate { .. } => FaultKind::Instantiate,
            Self::SetAside { .. } => FaultKind::SetAside,
        }
    }
}
