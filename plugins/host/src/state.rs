//! Bounded memory of a plugin that outlives its instances.

use std::collections::HashMap;

/// Most entries of one plugin with one settings.
const ENTRIES: usize = 4096;
/// Most bytes of their keys and values together.
const BYTES: usize = 1 << 20;
const LONGEST_KEY: usize = 256;
const LONGEST_VALUE: usize = 64 << 10;

/// The entries. Time comes in with each call, in milliseconds of the clock that the plugin sees.
#[derive(Debug, Default)]
pub(crate) struct State {
    entries: HashMap<String, Entry>,
    bytes: usize,
    clock: Clock,
}

/// A clock that only goes forward, by the steps of one that may be set back: an hour that is shown twice keeps no entry
/// alive for an hour more.
#[derive(Debug, Default)]
struct Clock {
    shown: u64,
    passed: u64,
}

impl Clock {
    fn now(&mut self, shown: u64) -> u64 {
        let step = shown.saturating_sub(self.shown);
        self.passed = self.passed.saturating_add(step);
        self.shown = shown;
        self.passed
    }
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    /// `None`: never.
    expires_ms: Option<u64>,
}

/// Why an entry was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateError {
    Full,
    TooLarge,
}

impl Entry {
    fn is_alive(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}

impl State {
    pub(crate) fn get(&mut self, key: &str, time_ms: u64) -> Option<&[u8]> {
        let now_ms = self.clock.now(time_ms);
        let entry = self.entries.get(key)?;
        entry.is_alive(now_ms).then_some(entry.value.as_slice())
    }

    pub(crate) fn put(
        &mut self,
        key: &str,
        value: Vec<u8>,
        seconds: Option<u32>,
        time_ms: u64,
    ) -> Result<(), StateError> {
        let now_ms = self.clock.now(time_ms);
        if key.len() > LONGEST_KEY || value.len() > LONGEST_VALUE {
            return Err(StateError::TooLarge);
        }
        if !self.has_room(key, value.len()) {
            self.forget_dead(now_ms);
            if !self.has_room(key, value.len()) {
                return Err(StateError::Full);
            }
        }
        self.remove(key);
        self.bytes += key.len() + value.len();
        let expires_ms = seconds.map(|seconds| now_ms.saturating_add(u64::from(seconds) * 1000));
        self.entries
            .insert(key.to_owned(), Entry { value, expires_ms });
        Ok(())
    }

    /// Adds to a number. `seconds` counts from the entry's beginning: adding does not prolong it.
    pub(crate) fn increment(
        &mut self,
        key: &str,
        by: i64,
        seconds: Option<u32>,
        time_ms: u64,
    ) -> Result<i64, StateError> {
        let now_ms = self.clock.now(time_ms);
        if let Some(entry) = self.entries.get_mut(key)
            && entry.is_alive(now_ms)
            && let Ok(number) = <[u8; 8]>::try_from(entry.value.as_slice())
        {
            let sum = i64::from_le_bytes(number).saturating_add(by);
            entry.value.copy_from_slice(&sum.to_le_bytes());
            return Ok(sum);
        }
        self.put(key, by.to_le_bytes().to_vec(), seconds, time_ms)?;
        Ok(by)
    }

    fn has_room(&self, key: &str, value: usize) -> bool {
        let replaced = self
            .entries
            .get(key)
            .map(|entry| key.len() + entry.value.len());
        let entries = self.entries.len() + usize::from(replaced.is_none());
        let bytes = self.bytes - replaced.unwrap_or(0) + key.len() + value;
        entries <= ENTRIES && bytes <= BYTES
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= key.len() + entry.value.len();
        }
    }

    fn forget_dead(&mut self, now_ms: u64) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let alive = entry.is_alive(now_ms);
            if !alive {
                *bytes -= key.len() + entry.value.len();
            }
            alive
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_kept_for_its_seconds() {
        let mut state = State::default();
        state.put("k", vec![1], Some(2), 1_000).expect("room");
        assert_eq!(state.get("k", 2_999), Some(&[1][..]));
        assert_eq!(state.get("k", 3_000), None);
    }

    #[test]
    fn a_full_state_makes_room_only_for_what_has_expired() {
        let mut state = State::default();
        for key in 0..ENTRIES {
            let seconds = (key == 7).then_some(1);
            state
                .put(&key.to_string(), vec![], seconds, 0)
                .expect("room");
        }
        assert_eq!(state.put("new", vec![], None, 0), Err(StateError::Full));
        assert_eq!(state.put("new", vec![], None, 5_000), Ok(()));
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let mut state = State::default();
        let value = vec![0; LONGEST_VALUE];
        let kept = (0..100).filter(|key: &u32| {
            state
                .put(&key.to_string(), value.clone(), Some(1), 0)
                .is_ok()
        });
        assert_eq!(kept.count(), 15);
        assert_eq!(state.put("0", vec![], None, 0), Ok(()));
        assert_eq!(state.put("again", value, None, 0), Ok(()));
        assert!(state.bytes <= BYTES);
    }

    #[test]
    fn numbers_add_up_until_they_expire() {
        let mut state = State::default();
        assert_eq!(state.increment("n", 2, Some(1), 0), Ok(2));
        assert_eq!(state.increment("n", 3, Some(1), 900), Ok(5));
        assert_eq!(state.increment("n", 1, Some(1), 1_000), Ok(1));
    }

    #[test]
    fn long_keys_and_values_are_refused() {
        let mut state = State::default();
        assert_eq!(
            state.put(&"k".repeat(257), vec![], None, 0),
            Err(StateError::TooLarge)
        );
        assert_eq!(
            state.put("k", vec![0; 65_537], None, 0),
            Err(StateError::TooLarge)
        );
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_alive() {
        let mut state = State::default();
        let hour = 3_600_000;
        state.put("k", vec![1], Some(2), hour).expect("room");
        assert_eq!(state.get("k", hour + 1_000), Some(&[1][..]));
        assert_eq!(state.get("k", 500), Some(&[1][..]));
        assert_eq!(state.get("k", 1_400), Some(&[1][..]));
        assert_eq!(state.get("k", 1_500), None);
    }
}
