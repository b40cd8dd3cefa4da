//! The other side of the socket: what `palisade-node status`, `explain` and `uninstall` do.

use super::{Answer, Question, path};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// For an answer: removing tables of ten thousand policies takes a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the daemon of a state directory. Absent: no daemon answers there.
///
/// # Errors
/// The socket cannot be used, or what comes back is no answer.
pub fn ask(dir: &Path, question: Question) -> io::Result<Option<Answer>> {
    let mut stream = match UnixStream::connect(path(dir)) {
        Ok(stream) => stream,
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(err) => return Err(err),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    match BufReader::new(stream).read_line(&mut answer) {
        Ok(0) => Err(io::Error::other("the daemon ended without an answer")),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "a daemon is there and does not answer: it hangs, or is stopped",
        )),
        done => done,
    }?;
    Ok(Some(serde_json::from_str(&answer)?))
}
