//! The part of WASI that standard libraries import without being asked, with nothing behind it.
//!
//! No arguments, no variables; standard input is at its end; standard output and error are the plugin's log; the clock
//! is the time of the call, in milliseconds; random numbers come from a generator that the host seeds; exit is a trap.
//! Every other function of these interfaces traps when called. Files, sockets and HTTP are not here at all: a component
//! that imports them is refused (`verify/contract.rs`).

mod streams;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime::{StoreContextMut, bail};

use crate::guest::Guest;
use crate::verify::wasi_interface;

/// A resource of WASI that nothing stands behind, such as a terminal.
struct Nothing;

/// Defines what the component imports of WASI.
pub(crate) fn link(linker: &mut Linker<Guest>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.engine();
    for (import, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(wanted) = item.ty else {
            continue;
        };
        let Some(interface) = wasi_interface(import) else {
            continue;
        };
        let mut instance = linker.instance(import)?;
        for (name, item) in wanted.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) if serve(&mut instance, interface, name)? => {}
                ComponentItem::ComponentFunc(_) => {
                    let whole = format!("{interface}#{name}");
                    instance.func_new(name, move |_, _, _, _| {
                        bail!("`{whole}` does nothing for plugins")
                    })?;
                }
                ComponentItem::Resource(_) => {
                    let resource =
                        streams::resource(name).unwrap_or_else(ResourceType::host::<Nothing>);
                    instance.resource(name, resource, |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Defines a function that does something; false where there is none of that name.
fn serve(
    instance: &mut LinkerInstance<'_, Guest>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    match (interface, name) {
        ("wasi:cli/environment", "get-environment") => {
            instance.func_wrap(name, |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
        }
        ("wasi:cli/environment", "get-arguments") => {
            instance.func_wrap(name, |_, ()| Ok((Vec::<String>::new(),)))?;
        }
        ("wasi:cli/environment", "initial-cwd") => {
            instance.func_wrap(name, |_, ()| Ok((None::<String>,)))?;
        }
        ("wasi:cli/exit", "exit") => {
            instance.func_wrap(name, |_, (_,): (Result<(), ()>,)| -> wasmtime::Result<()> {
                bail!("the plugin ended itself (`exit`)")
            })?;
        }
        ("wasi:clocks/wall-clock", "now") => instance.func_wrap(name, |context, ()| {
            let time_ms = time_ms(&context);
            let nanoseconds = u32::try_from(time_ms % 1000 * 1_000_000)?;
            Ok((Datetime {
                seconds: time_ms / 1000,
                nanoseconds,
            },))
        })?,
        ("wasi:clocks/monotonic-clock", "now") => {
            instance.func_wrap(name, |context, ()| {
                Ok((time_ms(&context).saturating_mul(1_000_000),))
            })?;
        }
        ("wasi:random/random", "get-random-u64")
        | ("wasi:random/insecure", "get-insecure-random-u64") => {
            instance.func_wrap(name, |mut context, ()| Ok((next(&mut context),)))?;
        }
        ("wasi:random/insecure-seed", "insecure-seed" | "get-insecure-seed") => {
            instance.func_wrap(name, |mut context, ()| {
                Ok(((next(&mut context), next(&mut context)),))
            })?;
        }
        ("wasi:random/random", "get-random-bytes")
        | ("wasi:random/insecure", "get-insecure-random-bytes") => {
            instance.func_wrap(name, |mut context, (length,): (u64,)| {
                Ok((bytes(&mut context, length)?,))
            })?;
        }
        _ => return streams::serve(instance, interface, name),
    }
    Ok(true)
}

#[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

fn time_ms(context: &StoreContextMut<'_, Guest>) -> u64 {
    context.data().time_ms
}

/// SplitMix64 (Steele, Lea, Flood, 2014): enough for hash tables, and nothing here is secret.
fn next(context: &mut StoreContextMut<'_, Guest>) -> u64 {
    let state = &mut context.data_mut().random;
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Most random bytes of one call.
const RANDOM: u64 = 4096;

fn bytes(context: &mut StoreContextMut<'_, Guest>, length: u64) -> wasmtime::Result<Vec<u8>> {
    if length > RANDOM {
        bail!("more than {RANDOM} random bytes at once");
    }
    let mut bytes = Vec::new();
    let length = usize::try_from(length)?;
    while bytes.len() < length {
        bytes.extend(next(context).to_le_bytes());
    }
    bytes.truncate(length);
    Ok(bytes)
}
