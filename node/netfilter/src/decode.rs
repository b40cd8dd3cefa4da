//! Attributes of the kernel back to the IR: pure, total on any bytes.

mod instruction;
mod object;
mod set;

pub(crate) use object::{chain, rule};
pub(crate) use set::{Definition, RawElement, assemble, definition, elements};
