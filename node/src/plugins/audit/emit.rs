//! What auditors emit while they are called: taken in without waiting, and handed on after the call.

use super::record::emitted;
use palisade_plugin_host::{Field, Severity, SinkError};
use palisade_proto::v1;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Records that wait at most; a plugin is told that more do not fit.
const ROOM: usize = 1024;

/// Cheap to clone; clones are one.
#[derive(Clone, Debug, Default)]
pub struct Emit(Arc<Mutex<VecDeque<v1::FlowRecord>>>);

impl Emit {
    /// Takes a record in.
    ///
    /// # Errors
    /// There is no room.
    pub fn record(
        &self,
        plugin: &str,
        sink: &str,
        severity: Severity,
        message: &str,
        fields: &[Field],
    ) -> Result<(), SinkError> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= ROOM {
            return Err(SinkError::QueueFull);
        }
        waiting.push_back(emitted(plugin, sink, severity, message, fields));
        Ok(())
    }

    /// Everything that waits, oldest first.
    pub fn take(&self) -> VecDeque<v1::FlowRecord> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
