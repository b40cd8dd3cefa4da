//! What this kernel can do, found out by transactions that never happen.

use crate::{
    Netfilter, ReadError,
    commit::control,
    encode::flag,
    kernel::load,
    message::Messages,
    native::{Builder, Native, QueueForm, queue},
    program::{Instruction, Log},
    socket::Wait,
    support::{release, version},
};
use nftnl::{Chain, MsgType, ProtoFamily, Rule, Table};
use nftnl_sys as sys;
use std::{collections::BTreeSet, ffi::CString};

/// Something that not every kernel can do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Feature {
    /// `queue`, `xt-queue`, `ct-status`, `reject`, `log`, `nflog`, `limit`, `notrack`, `fib`, `postrouting-iif`.
    pub name: &'static str,
    /// Whether this kernel can.
    pub present: bool,
}

/// A rule of one expression that needs a feature.
enum Candidate {
    Ours(Instruction),
    Other(fn() -> Builder),
}

impl nftnl::expr::Expression for Candidate {
    fn to_expr(&self, rule: &Rule) -> std::ptr::NonNull<sys::nftnl_expr> {
        match self {
            Self::Ours(instruction) => Native {
                instruction,
                queue: QueueForm::Native,
            }
            .to_expr(rule),
            Self::Other(build) => build().done(),
        }
    }
}

impl Netfilter {
    /// Tries the features that Palisade uses or could use. Nothing of it stays, and nobody is notified: the last rule
    /// of the batch goes into a chain that does not exist, so that the kernel always refuses the whole; which of the
    /// other rules it refuses too is the answer.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn probe(&mut self) -> Result<Vec<Feature>, ReadError> {
        let mut features = self.present(candidates())?;
        features.push(Feature {
            name: "postrouting-iif",
            present: knows_input_in_postrouting(&release()),
        });
        Ok(features)
    }

    /// Which rules of one expression it takes.
    fn present(
        &mut self,
        candidates: Vec<(&'static str, Candidate)>,
    ) -> Result<Vec<Feature>, ReadError> {
        let first = self.socket.sequences(candidates.len() + 5);
        let table = Table::new(c"palisade-probe", ProtoFamily::Inet);
        let chain = Chain::new(c"probe", &table);
        let missing = Chain::new(c"missing", &table);
        let create = flag::CREATE;
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.begin(first);
        let mut number = first;
        let mut next = || {
            number = number.wrapping_add(1);
            number
        };
        buffer.object(&table, MsgType::Add, next(), create);
        buffer.object(&chain, MsgType::Add, next(), create);
        let mut asked = Vec::new();
        for (name, candidate) in &candidates {
            let mut rule = Rule::new(&chain);
            rule.add_expr(candidate);
            let number = next();
            buffer.object(&rule, MsgType::Add, number, create | flag::APPEND);
            asked.push((*name, number));
        }
        let last = next();
        let rule = Rule::new(&missing);
        buffer.object(&rule, MsgType::Add, last, create | flag::APPEND);
        buffer.end(next(), 0);
        self.socket.drain()?;
        self.socket.send(self.buffer.bytes())?;
        let refused = self.refused()?;
        if !refused.contains(&last) {
            return Err(ReadError::Malformed("a probe"));
        }
        let features = asked.into_iter().map(|(name, number)| Feature {
            name,
            present: !refused.contains(&number),
        });
        Ok(features.collect())
    }

    /// Whether this kernel can queue packets, by an expression of its own or by the xt target.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub fn can_queue(&mut self) -> Result<bool, ReadError> {
        Ok(self.queue_form()?.is_some())
    }

    /// How this kernel queues packets: found out when it is first needed, again as long as it cannot, and again once it
    /// refused a plan.
    pub(crate) fn queue_form(&mut self) -> Result<Option<QueueForm>, ReadError> {
        if self.queue.is_none() {
            // Nothing else: what a kernel lacks it looks for among its modules each time.
            let features = self.present(queueing())?;
            let has = |name| features.iter().any(|f| f.name == name && f.present);
            self.queue = if has("queue") {
                Some(QueueForm::Native)
            } else if has("xt-queue") {
                Some(QueueForm::Target)
            } else {
                None
            };
        }
        Ok(self.queue)
    }

    /// Sequence numbers of refused messages.
    fn refused(&mut self) -> Result<BTreeSet<u32>, ReadError> {
        let mut refused = BTreeSet::new();
        while let Some(datagram) = self.socket.receive(Wait::Never)? {
            for message in Messages(datagram) {
                match message.errno() {
                    // Not allowed at all: an answer about us, not about the kernel.
                    Some(errno @ libc::EPERM) if message.kind == control::ERROR => {
                        let what = "its features";
                        return Err(ReadError::Refused { what, errno });
                    }
                    Some(errno) if message.kind == control::ERROR && errno != 0 => {
                        refused.insert(message.sequence);
                    }
                    _ => {}
                }
            }
        }
        Ok(refused)
    }
}

/// Since 5.8 a packet still knows in postrouting where it came in. No rule of ours is refused without it, but the host's
/// own translated flows could not be told from forwarded ones ([`crate::OldKernel`]).
fn knows_input_in_postrouting(release: &str) -> bool {
    version(release).is_some_and(|version| version >= (5, 8))
}

fn candidates() -> Vec<(&'static str, Candidate)> {
    use Candidate::{Other, Ours};
    let log = |to| {
        Ours(Instruction::Log {
            prefix: CString::from(c"probe"),
            to,
        })
    };
    let mut candidates = queueing();
    candidates.extend([
        (
            "ct-status",
            Ours(Instruction::Ct {
                key: load::CT_STATUS,
                to: 0,
            }),
        ),
        (
            "reject",
            Ours(Instruction::Reject {
                kind: load::REJECT_ICMPX,
                code: load::ICMPX_PORT_UNREACHABLE,
            }),
        ),
        (
            "log",
            log(Log::Kernel {
                level: load::LEVEL_INFO,
            }),
        ),
        (
            "nflog",
            log(Log::Group {
                group: 1,
                snap: 96,
                queue: 64,
            }),
        ),
        (
            "limit",
            Ours(Instruction::Limit {
                rate: 1,
                unit: 1,
                burst: 5,
            }),
        ),
        ("notrack", Ours(Instruction::Notrack)),
        ("fib", Other(fib)),
    ]);
    candidates
}

fn queueing() -> Vec<(&'static str, Candidate)> {
    vec![
        ("queue", Candidate::Other(|| queue(0, QueueForm::Native))),
        ("xt-queue", Candidate::Other(|| queue(0, QueueForm::Target))),
    ]
}

/// `fib daddr type`.
fn fib() -> Builder {
    const TYPE: u32 = 3;
    const DESTINATION: u32 = 2;
    Builder::new(c"fib")
        .u32(sys::NFTNL_EXPR_FIB_RESULT, TYPE)
        .u32(sys::NFTNL_EXPR_FIB_FLAGS, DESTINATION)
        .u32(sys::NFTNL_EXPR_FIB_DREG, 1)
}

#[cfg(test)]
mod tests {
    use super::knows_input_in_postrouting;

    #[test]
    fn releases_are_read_as_numbers() {
        for release in ["5.8", "5.10.0-21-amd64", "6.1.0", "10.0"] {
            assert!(knows_input_in_postrouting(release), "{release}");
        }
        for release in ["5.7.19", "4.19.0-9-amd64", "", "five", "6"] {
            assert!(!knows_input_in_postrouting(release), "{release}");
        }
    }
}
