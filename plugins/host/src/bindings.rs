//! Generated from `wit/palisade.wit` by wasmtime. Nothing of it leaves the crate.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

pub(crate) mod matching {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "matcher-plugin",
    });
}

pub(crate) mod auditing {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "auditor-plugin",
        with: {
            "palisade:plugin/types": crate::bindings::matching::palisade::plugin::types,
            "palisade:plugin/host": crate::bindings::matching::palisade::plugin::host,
            "palisade:plugin/inventory": crate::bindings::matching::palisade::plugin::inventory,
            "palisade:plugin/state": crate::bindings::matching::palisade::plugin::state,
        },
    });
}

pub(crate) use auditing::palisade::plugin::sinks;
pub(crate) use matching::palisade::plugin::{host, inventory, state, types};
