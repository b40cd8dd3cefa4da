//! A matcher that does on demand what a plugin must not do: the settings name the deed.

use std::hint::black_box;

use palisade_plugin::matcher::{Answer, Matcher, Packet};
use palisade_plugin::{Problem, node, settings, state};

#[derive(serde::Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Nothing wrong: does not match.
    Nothing,
    /// Nothing wrong: matches what has a payload.
    MatchPayload,
    Trap,
    /// Panics when the payload says `trap`.
    TrapOnRequest,
    Loop,
    Memory,
    WildRead,
    Recursion,
    LoopInConfigure,
    TrapInConfigure,
    LoopInValidate,
    RememberForEver,
    LongReason,
    LogFlood,
    Print,
    Environment,
    Clock,
    Sleep,
    Exit,
    /// Matches by a random number.
    Random,
    /// Matches from the third call of an instance on.
    CountOfInstance,
    /// Matches from the third call of all instances on.
    CountOfState,
    StateFlood,
    /// Matches if keys and values that are too large are answered so.
    StateTooLarge,
    /// Hands over more than any call may.
    StateFarTooLarge,
    /// Logs more than is kept of a message.
    LogLarge,
    Metrics,
    NeedPayload,
}

#[derive(serde::Deserialize)]
struct Settings {
    deed: Deed,
}

/// The misbehaviour.
pub struct Misbehave {
    deed: Deed,
    calls: u32,
    reason: String,
}

impl Matcher for Misbehave {
    fn configure(text: &str) -> Result<Self, Vec<Problem>> {
        let Settings { deed } = settings::parse(text)?;
        match deed {
            Deed::LoopInConfigure | Deed::LoopInValidate => for_ever(),
            Deed::TrapInConfigure => panic!("configure panics"),
            // What takes long is done here, where there is more time.
            Deed::LogFlood => {
                (0..10_000).for_each(|n| node::log(node::Level::Info, &n.to_string()));
            }
            Deed::StateFlood => {
                return Ok(Self {
                    deed,
                    calls: u32::from(state_flood()),
                    reason: String::new(),
                });
            }
            Deed::StateTooLarge => {
                return Ok(Self {
                    deed,
                    calls: u32::from(too_large_is_answered()),
                    reason: String::new(),
                });
            }
            Deed::StateFarTooLarge => {
                let _ = state::put("k", &vec![0; 2 << 20], None);
            }
            Deed::LogLarge => {
                for length in [1025, 70_000, 1_000_000] {
                    node::log(node::Level::Info, &"x".repeat(length));
                }
            }
            _ => {}
        }
        let reason = match deed {
            Deed::LongReason => "x".repeat(2 << 20),
            _ => String::new(),
        };
        Ok(Self {
            deed,
            calls: 0,
            reason,
        })
    }

    fn evaluate(&mut self, packet: &Packet) -> Answer {
        self.calls += 1;
        match self.deed {
            Deed::MatchPayload => return met(!packet.payload.is_empty()),
            Deed::Trap => panic!("evaluate panics"),
            Deed::TrapOnRequest if packet.payload == b"trap" => panic!("as asked"),
            Deed::Loop => for_ever(),
            Deed::Memory => eat_memory(),
            Deed::WildRead => wild_read(),
            Deed::Recursion => return met(recursion(u64::from(self.calls)) == 0),
            Deed::RememberForEver => return Answer::Match(u32::MAX),
            Deed::LongReason => return Answer::Undecided(std::mem::take(&mut self.reason)),
            Deed::Print => {
                println!("to standard output");
                eprintln!("to standard error");
            }
            Deed::Environment => {
                return met(std::env::vars().count() + std::env::args().count() > 0);
            }
            Deed::Clock => return met(clock_is(packet.time_ms)),
            Deed::Sleep => std::thread::sleep(std::time::Duration::from_secs(3600)),
            Deed::Exit => std::process::exit(0),
            Deed::Random => return met(random().is_multiple_of(2)),
            Deed::CountOfInstance => return met(self.calls >= 3),
            Deed::CountOfState => {
                return met(state::increment("calls", 1, None).is_ok_and(|calls| calls >= 3));
            }
            Deed::StateFlood | Deed::StateTooLarge => return met(self.calls == 2),
            Deed::Metrics => {
                node::count("known", 2);
                node::count("unknown", 1);
                node::observe("known", 0.5);
                node::observe("known", f64::NAN);
                node::observe("known", f64::INFINITY);
            }
            Deed::NeedPayload => return Answer::NeedPayload,
            Deed::Nothing
            | Deed::LogFlood
            | Deed::LogLarge
            | Deed::StateFarTooLarge
            | Deed::TrapOnRequest
            | Deed::LoopInConfigure
            | Deed::LoopInValidate
            | Deed::TrapInConfigure => {}
        }
        Answer::NoMatch(0)
    }
}

fn met(condition: bool) -> Answer {
    if condition {
        Answer::Match(0)
    } else {
        Answer::NoMatch(0)
    }
}

fn for_ever() -> ! {
    let mut steps = 0_u64;
    loop {
        steps = black_box(steps.wrapping_add(1));
    }
}

fn eat_memory() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(Vec::with_capacity(1 << 20));
        black_box(&eaten);
    }
}

#[expect(unsafe_code, reason = "the deed")]
fn wild_read() {
    // SAFETY: there is none; the sandbox has to hold.
    black_box(unsafe { std::ptr::read_volatile(0xf000_0000 as *const u8) });
}

#[expect(unconditional_recursion, reason = "the deed")]
fn recursion(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recursion(depth + 1) + frame[0]
}

fn clock_is(time_ms: u64) -> bool {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .is_ok_and(|now| now.as_millis() == u128::from(time_ms))
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(7)
}

/// Whether the bounded memory was full before it held 64 MiB.
fn state_flood() -> bool {
    let value = vec![0; 32 << 10];
    (0..2048).any(|key| state::put(&key.to_string(), &value, None).is_err())
}

/// Whether all that is too large, up to what may be handed over, is said to be.
fn too_large_is_answered() -> bool {
    let refused = |key: &str, value: &[u8]| {
        let kept = state::put(key, value, None);
        matches!(kept, Err(state::StateError::TooLarge))
    };
    let key = "k".repeat(70_000);
    let sizes = [65_537, 70_000, 128 << 10, 1_000_000];
    sizes.iter().all(|&size| refused("k", &vec![0; size]))
        && refused(&key, &[])
        && matches!(
            state::increment(&key, 1, None),
            Err(state::StateError::TooLarge)
        )
        && state::put("k", &vec![0; 65_536], None).is_ok()
}

palisade_plugin::matcher!(Misbehave);
