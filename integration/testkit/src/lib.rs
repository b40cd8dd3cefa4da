//! The top of the verdict ladder: what the specification says of a packet, and worlds to ask it about.
//!
//! * [`document`], [`selector`], [`packet`] — resources as they are written, packets, and the machine between them;
//! * [`oracle`] — the verdict, written from the specification alone;
//! * [`generate`] — worlds and packets by seed;
//! * [`shrink`], [`scenario`] — a failing world made small, and printed as a document;
//! * [`coverage`] — what was reached.
//!
//! Pure. The oracle imports nothing of the product: where it and the product differ, one of them misreads the
//! specification. The other rungs (compiler and evaluator, ruleset and interpreter, kernel) are compared in `tests/`.

#![forbid(unsafe_code)]

pub mod coverage;
pub mod document;
pub mod generate;
pub mod oracle;
pub mod packet;
pub mod scenario;
pub mod selector;
pub mod shrink;
