//! A transaction as chunks: length-delimited operations, joined and cut at most every 16 KiB.

use bytes::{Buf, Bytes, BytesMut};
use palisade_proto::v1;
use prost::Message;
use std::collections::VecDeque;

/// Longest chunk in bytes.
pub const CHUNK: usize = 16 * 1024;

/// An operation with its length in front, as it stands in the stream.
pub fn delimited(op: &v1::ViewOp) -> Bytes {
    op.encode_length_delimited_to_vec().into()
}

/// Cuts delimited operations into chunks; long operations are sliced, short ones joined.
pub struct Chunks {
    ops: VecDeque<Bytes>,
}

impl Chunks {
    /// Of the operations of one transaction.
    pub fn new(ops: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            ops: ops.into_iter().collect(),
        }
    }

    /// Bytes that are still to come: `Begin.total_bytes` at first.
    pub fn total_bytes(&self) -> u64 {
        self.ops.iter().map(|op| op.len() as u64).sum()
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut first = self.ops.pop_front()?;
        if first.len() >= CHUNK {
            let chunk = first.split_to(CHUNK);
            if !first.is_empty() {
                self.ops.push_front(first);
            }
            return Some(chunk);
        }
        let mut chunk = BytesMut::from(first);
        while let Some(next) = self.ops.front_mut() {
            let room = CHUNK - chunk.len();
            if next.len() > room {
                chunk.extend_from_slice(&next.split_to(room));
                break;
            }
            chunk.extend_from_slice(next);
            self.ops.pop_front();
        }
        Some(chunk.freeze())
    }
}

/// Why a stream of chunks is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Announced, or sent, more than the receiver takes.
    #[error("{bytes} bytes are more than the limit of {limit}")]
    TooLong {
        /// Announced or sent.
        bytes: u64,
        /// The limit in force.
        limit: u64,
    },
    /// Sent other than announced.
    #[error("{sent} bytes were sent, {announced} were announced")]
    Length {
        /// Announced by `Begin`.
        announced: u64,
        /// Sent until `Commit`.
        sent: u64,
    },
    /// The last operation is cut off.
    #[error("the last operation is incomplete")]
    Incomplete,
    /// An operation is not a `ViewOp`.
    #[error("operation {index} is malformed: {reason}")]
    Malformed {
        /// Its place.
        index: usize,
        /// What the decoder says.
        reason: String,
    },
}

/// Puts operations together again, as chunks arrive.
pub struct Assembler {
    announced: u64,
    sent: u64,
    rest: BytesMut,
    ops: Vec<v1::ViewOp>,
}

impl Assembler {
    /// For a transaction of so many bytes.
    ///
    /// # Errors
    /// More bytes are announced than `limit`.
    pub fn new(announced: u64, limit: u64) -> Result<Self, FrameError> {
        if announced > limit {
            return Err(FrameError::TooLong {
                bytes: announced,
                limit,
            });
        }
        Ok(Self {
            announced,
            sent: 0,
            rest: BytesMut::new(),
            ops: Vec::new(),
        })
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// More than was announced, or malformed operations.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), FrameError> {
        self.sent = self.sent.saturating_add(chunk.len() as u64);
        if self.sent > self.announced {
            return Err(FrameError::Length {
                announced: self.announced,
                sent: self.sent,
            });
        }
        self.rest.extend_from_slice(chunk);
        while let Some(op) = self.next_op()? {
            self.ops.push(op);
        }
        Ok(())
    }

    fn next_op(&mut self) -> Result<Option<v1::ViewOp>, FrameError> {
        let mut peek = &self.rest[..];
        // A length has at most 10 bytes; with fewer, what looks broken may only be cut.
        let length = match prost::decode_length_delimiter(&mut peek) {
            Ok(length) => length,
            Err(_) if self.rest.len() < 10 && self.rest.iter().all(|b| b & 0x80 != 0) => {
                return Ok(None);
            }
            Err(err) => return Err(self.malformed(&err)),
        };
        let header = self.rest.len() - peek.len();
        if length as u64 > self.announced {
            return Err(FrameError::TooLong {
                bytes: length as u64,
                limit: self.announced,
            });
        }
        if peek.len() < length {
            return Ok(None);
        }
        self.rest.advance(header);
        let body = self.rest.split_to(length).freeze();
        match v1::ViewOp::decode(body) {
            Ok(op) => Ok(Some(op)),
            Err(err) => Err(self.malformed(&err)),
        }
    }

    fn malformed(&self, err: &prost::DecodeError) -> FrameError {
        FrameError::Malformed {
            index: self.ops.len(),
            reason: err.to_string(),
        }
    }

    /// All operations, once the transaction is complete.
    ///
    /// # Errors
    /// Fewer bytes than announced, or half an operation at the end.
    pub fn finish(self) -> Result<Vec<v1::ViewOp>, FrameError> {
        if self.sent != self.announced {
            return Err(FrameError::Length {
                announced: self.announced,
                sent: self.sent,
            });
        }
        if !self.rest.is_empty() {
            return Err(FrameError::Incomplete);
        }
        Ok(self.ops)
    }
}
