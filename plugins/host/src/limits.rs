//! How much a plugin may use: of work, of time, of memory.

use std::time::Duration;

use crate::manifest::Manifest;
use crate::verify::Kind;

/// What one call may use. Fuel is the limit: it counts the plugin's own work and is the same on every machine. The
/// deadline is the backstop for what fuel does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Units of work; about one per instruction.
    pub fuel: u64,
    /// By the clock, in steps of a millisecond; past it, as much again of the processor's time.
    pub deadline: Duration,
}

/// The limits of a plugin in one duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one call: a packet, or a batch of events.
    pub call: Budget,
    /// Of making an instance and reading the settings.
    pub configure: Budget,
    /// Linear memory of one instance, in bytes.
    pub memory: usize,
    /// What a plugin may hand to the host in one call or answer, in bytes. What the contract answers with `too-large`, or
    /// cuts, is so up to here, since the host has to take it to judge it; beyond, the call faults.
    pub transfer: usize,
}

/// What the Plugin resource allows beyond, or below, the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ceilings {
    /// Most fuel of a call; `None`: the default of the kind.
    pub fuel: Option<u64>,
    /// Most memory of an instance, in bytes; `None`: the default of the kind.
    pub memory: Option<u64>,
}

const MIB: usize = 1 << 20;

impl Limits {
    /// The defaults of a kind, which are also its ceilings unless the resource sets others.
    pub fn of(kind: Kind) -> Self {
        let configure = Budget {
            fuel: 100_000_000,
            deadline: Duration::from_secs(1),
        };
        match kind {
            Kind::Matcher => Self {
                call: Budget {
                    fuel: 2_000_000,
                    deadline: Duration::from_millis(10),
                },
                configure,
                memory: 16 * MIB,
                transfer: MIB,
            },
            Kind::Auditor => Self {
                call: Budget {
                    fuel: 50_000_000,
                    deadline: Duration::from_millis(100),
                },
                configure,
                memory: 64 * MIB,
                transfer: 4 * MIB,
            },
        }
    }

    /// What a plugin gets: what its manifest asks for, never more than the ceiling; the ceiling where it asks nothing.
    pub fn granted(kind: Kind, manifest: &Manifest, ceilings: Ceilings) -> Self {
        let default = Self::of(kind);
        let fuel = ceilings.fuel.unwrap_or(default.call.fuel);
        let memory = ceilings.memory.map_or(default.memory, |bytes| {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        Self {
            call: Budget {
                fuel: manifest.limits.fuel.unwrap_or(fuel).min(fuel),
                ..default.call
            },
            memory: manifest
                .limits
                .memory_mib
                .map_or(memory, |asked| mebibytes(asked).min(memory)),
            ..default
        }
    }
}

fn mebibytes(count: u32) -> usize {
    usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_mul(MIB)
}
