//! `palisadectl validate`: judges files offline, all faults at once.

use crate::{args::Files, failure::Failure, input, problems};

pub(super) fn run(files: &Files) -> Result<u8, Failure> {
    let inputs = input::read(files)?;
    let decoded = problems::decode(&inputs)?;
    println!(
        "{} resource{} valid",
        decoded.len(),
        if decoded.len() == 1 { "" } else { "s" }
    );
    Ok(0)
}
