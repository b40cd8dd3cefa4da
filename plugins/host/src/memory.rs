//! The cap on an instance's memory, and whether it was reached.

use wasmtime::ResourceLimiter;

/// More than any toolchain makes of one component, and few enough to cost nothing.
const INSTANCES: usize = 64;
const TABLE_ELEMENTS: usize = 20_000;

/// Counts the linear memory of one instance.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: usize,
    refused: bool,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            refused: false,
        }
    }

    /// Bytes of all linear memories; they never shrink.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether growth was refused since this was last asked.
    pub(crate) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.used.saturating_sub(current).saturating_add(desired);
        // Past its own maximum the growth fails anyway, and that is not our refusal.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if total > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        INSTANCES
    }
}
