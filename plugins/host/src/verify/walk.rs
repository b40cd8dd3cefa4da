//! Reads a component from outside: its well-formedness, its imports and exports, its manifest.

use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use super::Refusal;

/// What can be seen without running it.
pub(super) struct Outline<'a> {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    pub(super) manifests: Vec<&'a [u8]>,
}

/// The custom section with the manifest, in the component or in a module of it.
const MANIFEST: &str = "palisade:manifest";

/// What plugins may use of WebAssembly; the engine has the same switched on.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST | WasmFeatures::COMPONENT_MODEL
}

/// Validates the bytes and reads their outline.
pub(super) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Refusal> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => {}
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => return Err(Refusal::CoreModule),
        None if b"\0asm\x0d\0\x01\0".starts_with(bytes) => {
            return Err(Refusal::Truncated {
                reason: format!("it has {} bytes", bytes.len()),
            });
        }
        _ => return Err(Refusal::NotWebAssembly),
    }
    Validator::new_with_features(features())
        .validate_all(bytes)
        .map_err(|error| refusal(&error, bytes.len()))?;
    let mut outline = Outline {
        imports: Vec::new(),
        exports: Vec::new(),
        manifests: Vec::new(),
    };
    let mut nesting: Vec<Encoding> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| refusal(&error, bytes.len()))?;
        take(payload, &mut nesting, &mut outline).map_err(|error| match error {
            Stop::Read(error) => refusal(&error, bytes.len()),
            Stop::Composed => Refusal::Composed,
        })?;
    }
    Ok(outline)
}

enum Stop {
    Read(wasmparser::BinaryReaderError),
    Composed,
}

impl From<wasmparser::BinaryReaderError> for Stop {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Read(error)
    }
}

/// One section. `nesting` holds what we are in, outermost first.
fn take<'a>(
    payload: Payload<'a>,
    nesting: &mut Vec<Encoding>,
    outline: &mut Outline<'a>,
) -> Result<(), Stop> {
    match payload {
        Payload::Version { encoding, .. } => {
            // Linkers wrap exported types in components of their own. What must not be there is code in them: passing
            // values from component to component is a part of the engine that plugins have no need of.
            if encoding == Encoding::Module && nesting.len() > 1 {
                return Err(Stop::Composed);
            }
            nesting.push(encoding);
        }
        Payload::End(_) => {
            nesting.pop();
        }
        Payload::ComponentImportSection(section) if nesting.len() == 1 => {
            for import in section {
                outline.imports.push(import?.name.name.to_owned());
            }
        }
        Payload::ComponentExportSection(section) if nesting.len() == 1 => {
            for export in section {
                outline.exports.push(export?.name.name.to_owned());
            }
        }
        Payload::CustomSection(section) if section.name() == MANIFEST => {
            outline.manifests.push(section.data());
        }
        _ => {}
    }
    Ok(())
}

fn refusal(error: &wasmparser::BinaryReaderError, size: usize) -> Refusal {
    let reason = error.to_string();
    // The reader says "unexpected end" also where a section's own length lies; only at the end is it a cut.
    if error.offset() >= size || reason.contains("unexpected end") {
        Refusal::Truncated { reason }
    } else {
        Refusal::Malformed { reason }
    }
}
