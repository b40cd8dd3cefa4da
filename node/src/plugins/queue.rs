//! Packets that rules ask plugins about: one thread that reads the kernel's queues, asks, and answers.
//!
//! * [`gate`] — which questions the ruleset in force asks; no commit falls between a question and its answer;
//! * [`judge`] — one packet, all conditions of its class, in one round trip;
//! * [`tags`] — what stands for the packet's mark while answers are in it;
//! * [`worker`] — the thread: queues, heartbeat, remembered answers.
//!
//! The kernel stays the only judge: an answer is bits of the packet's mark, and the packet enters its chain anew. Without
//! a condition in the view there is no thread; without a heartbeat the ruleset applies failure policies by itself.

pub mod judge;
pub mod tags;
pub mod worker;
