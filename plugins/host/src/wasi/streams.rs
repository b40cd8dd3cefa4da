//! Standard streams: input at its end, output and error into the plugin's log.

use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType};

use crate::console::Stream;
use crate::guest::Guest;

/// `wasi:io/streams.output-stream`: the representation says which.
struct OutputStream;
/// `wasi:io/streams.input-stream`.
struct InputStream;
/// `wasi:io/error.error`; none is ever made.
struct StreamFault;

const OUTPUT: u32 = 1;
const ERROR: u32 = 2;

/// Most bytes written at once.
const ROOM: u64 = 4096;

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<StreamFault>),
    #[component(name = "closed")]
    Closed,
}

type Written = (Result<(), StreamError>,);

/// The host type of a resource, which is the same in each interface that gives it out.
pub(super) fn resource(name: &str) -> Option<ResourceType> {
    match name {
        "output-stream" => Some(ResourceType::host::<OutputStream>()),
        "input-stream" => Some(ResourceType::host::<InputStream>()),
        "error" => Some(ResourceType::host::<StreamFault>()),
        _ => None,
    }
}

/// Defines a function of the streams; false where there is none of that name.
pub(super) fn serve(
    instance: &mut LinkerInstance<'_, Guest>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    match (interface, name) {
        ("wasi:cli/stdout", "get-stdout") => {
            instance.func_wrap(name, |_, ()| {
                Ok((Resource::<OutputStream>::new_own(OUTPUT),))
            })?;
        }
        ("wasi:cli/stderr", "get-stderr") => {
            instance.func_wrap(name, |_, ()| {
                Ok((Resource::<OutputStream>::new_own(ERROR),))
            })?;
        }
        ("wasi:cli/stdin", "get-stdin") => {
            instance.func_wrap(name, |_, ()| Ok((Resource::<InputStream>::new_own(0),)))?;
        }
        (
            "wasi:cli/terminal-stdin" | "wasi:cli/terminal-stdout" | "wasi:cli/terminal-stderr",
            _,
        ) => {
            instance.func_wrap(name, |_, ()| Ok((None::<Resource<super::Nothing>>,)))?;
        }
        ("wasi:io/streams", "[method]output-stream.check-write") => {
            instance.func_wrap(name, |_, (_,): (Resource<OutputStream>,)| {
                Ok((Ok::<u64, StreamError>(ROOM),))
            })?;
        }
        (
            "wasi:io/streams",
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
        ) => {
            instance.func_wrap(
                name,
                |mut context, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                    let stream = match stream.rep() {
                        ERROR => Stream::Error,
                        _ => Stream::Output,
                    };
                    context.data_mut().write(stream, &bytes);
                    Ok::<Written, _>((Ok(()),))
                },
            )?;
        }
        (
            "wasi:io/streams",
            "[method]output-stream.flush" | "[method]output-stream.blocking-flush",
        ) => {
            instance.func_wrap(name, |_, (_,): (Resource<OutputStream>,)| {
                Ok::<Written, _>((Ok(()),))
            })?;
        }
        // Standard libraries wait until they may write, which is always.
        ("wasi:io/streams", "[method]output-stream.subscribe") => {
            instance.func_wrap(name, |_, (_,): (Resource<OutputStream>,)| {
                Ok((Resource::<super::Nothing>::new_own(0),))
            })?;
        }
        ("wasi:io/poll", "[method]pollable.block") => {
            instance.func_wrap(name, |_, (_,): (Resource<super::Nothing>,)| Ok(()))?;
        }
        ("wasi:io/poll", "[method]pollable.ready") => {
            instance.func_wrap(name, |_, (_,): (Resource<super::Nothing>,)| Ok((true,)))?;
        }
        ("wasi:io/streams", "[method]input-stream.read" | "[method]input-stream.blocking-read") => {
            instance.func_wrap(name, |_, (_, _): (Resource<InputStream>, u64)| {
                Ok((Err::<Vec<u8>, StreamError>(StreamError::Closed),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
