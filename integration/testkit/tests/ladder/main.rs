//! Law f, from the top: for generated worlds and packets, oracle ≡ evaluator ≡ interpreter.
//!
//! `PALISADE_LADDER_SECONDS` runs it for so long from random seeds, `PALISADE_LADDER_SEED` from that one.

mod found;
mod generated;
mod kernel;
mod rungs;
mod wanted;
