//! Names in the questions of a DNS message (RFC 1035 §4.1).

/// A name as its labels, first to last, each of 1 to 63 bytes in the case it was sent in. The root has none.
pub(crate) type Name<'a> = [&'a [u8]];

/// Calls `seen` with the name of each question of a query.
///
/// A response has no name that is asked for, so `seen` is not called for it.
///
/// # Errors
///
/// Why the bytes are no whole DNS message; names before the fault were seen.
pub(crate) fn each(message: &[u8], mut seen: impl FnMut(&Name<'_>)) -> Result<(), &'static str> {
    let (header, mut rest) = message
        .split_first_chunk::<12>()
        .ok_or("shorter than a DNS header")?;
    let [_, _, flags, _, questions_high, questions_low, ..] = *header;
    if flags & 0x80 != 0 {
        return Ok(());
    }
    let questions = u16::from_be_bytes([questions_high, questions_low]);
    // Servers refuse more than one; a message that promises thousands must not cost thousands.
    if questions > 16 {
        return Err("more than 16 questions");
    }
    for _ in 0..questions {
        let mut labels: Vec<&[u8]> = Vec::with_capacity(8);
        rest = name(rest, &mut labels)?;
        seen(&labels);
        // Type and class.
        rest = rest.get(4..).ok_or("a question ends early")?;
    }
    Ok(())
}

/// Reads one name and gives what follows it.
fn name<'a>(mut rest: &'a [u8], labels: &mut Vec<&'a [u8]>) -> Result<&'a [u8], &'static str> {
    let mut length = 1;
    loop {
        let (&size, after) = rest.split_first().ok_or("a name ends early")?;
        match size {
            0 => return Ok(after),
            1..=63 => {
                let size = usize::from(size);
                length += size + 1;
                if length > 255 {
                    return Err("a name is longer than 255 bytes");
                }
                let (label, after) = after.split_at_checked(size).ok_or("a label ends early")?;
                labels.push(label);
                rest = after;
            }
            // A question stands first: there is nothing before it that a pointer could point to.
            _ => return Err("a name in a question is compressed"),
        }
    }
}
