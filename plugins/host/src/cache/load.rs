//! Where compiled code becomes code that runs: the one place of this crate with `unsafe`.
#![expect(unsafe_code, reason = "the engine cannot check compiled code")]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads code whose MAC was verified; `None` where the engine finds that it is not its own after all.
pub(super) fn compiled(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: the bytes must come from `Component::serialize` unaltered. The caller has just compared their MAC, made
    // with a key that only this node has, over these very bytes in our own memory: no file is mapped or read again.
    unsafe { Component::deserialize(engine, code) }.ok()
}
