//! Random histories against a model: one map per revision.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// One thing to do to a store.
#[derive(Debug, Clone)]
pub enum Step {
    /// A transaction; keys are small numbers.
    Txn {
        /// Key, and what to demand of it.
        compare: Vec<(u8, Demand)>,
        /// Key, and the value to put; none: delete.
        then: BTreeMap<u8, Option<u8>>,
    },
    /// Reads every key and every page, at the revision so many before the current one.
    Read {
        /// How far back.
        back: u64,
        /// The page's size.
        limit: usize,
    },
    /// Watches from the revision so many before the current one to the current one.
    Watch {
        /// How far back.
        back: u64,
    },
    /// Compacts to the revision so many before the current one.
    Compact {
        /// How far back.
        back: u64,
    },
}

/// What a compare demands of a key.
#[derive(Debug, Clone)]
pub enum Demand {
    /// That it is absent.
    Absent,
    /// That it is present.
    Present,
    /// That it was last written where the model says it was.
    Unchanged,
    /// That it was last written at this revision.
    ModifiedAt(u64),
}

const KEYS: Range<u8> = 0..6;

/// Random histories of up to `length` steps.
pub fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let demand = prop_oneof![
        2 => Just(Demand::Absent),
        2 => Just(Demand::Present),
        3 => Just(Demand::Unchanged),
        1 => (0..20_u64).prop_map(Demand::ModifiedAt),
    ];
    let value = proptest::option::weighted(0.7, any::<u8>());
    let txn = (
        vec((KEYS, demand), 0..3),
        proptest::collection::btree_map(KEYS, value, 0..4),
    );
    let step = prop_oneof![
        8 => txn.prop_map(|(compare, then)| Step::Txn { compare, then }),
        3 => (0..12_u64, 1..5_usize).prop_map(|(back, limit)| Step::Read { back, limit }),
        2 => (0..12_u64).prop_map(|back| Step::Watch { back }),
        1 => (0..12_u64).prop_map(|back| Step::Compact { back }),
    ];
    vec(step, 1..length)
}

/// Takes a new store through a history, and compares every answer with the model's.
pub async fn agrees_with_the_model(store: Arc<dyn Store>, steps: Vec<Step>) {
    let mut model = Model {
        states: vec![State::new()],
        compacted: 0,
    };
    for step in steps {
        match step {
            Step::Txn { compare, then } => model.txn(&store, compare, then).await,
            Step::Read { back, limit } => model.read(&store, back, limit).await,
            Step::Watch { back } => model.watch(&store, back).await,
            Step::Compact { back } => {
                let oldest = model.revision().saturating_sub(back);
                store.compact(Revision(oldest)).await.expect("compacts");
                model.compacted = model.compacted.max(oldest);
            }
        }
        let identity = store.identity().await.expect("readable");
        let expected = (Revision(model.revision()), Revision(model.compacted));
        assert_eq!((identity.revision, identity.compacted), expected);
    }
}

type State = BTreeMap<Bytes, KeyValue>;

/// Every state the store ever had, by revision.
struct Model {
    states: Vec<State>,
    compacted: u64,
}

// === impl Model ===

impl Model {
    fn revision(&self) -> u64 {
        (self.states.len() - 1) as u64
    }

    fn state(&self, at: u64) -> &State {
        &self.states[usize::try_from(at).expect("small")]
    }

    async fn txn(
        &mut self,
        store: &Arc<dyn Store>,
        compare: Vec<(u8, Demand)>,
        then: BTreeMap<u8, Option<u8>>,
    ) {
        let now = self.state(self.revision()).clone();
        let compare: Vec<_> = compare
            .into_iter()
            .map(|(number, demand)| {
                let key = key(number);
                match demand {
                    Demand::Absent => Compare::Absent(key),
                    Demand::Present => Compare::Present(key),
                    Demand::Unchanged => match now.get(&key) {
                        Some(there) => Compare::ModifiedAt(key, there.modified),
                        None => Compare::Absent(key),
                    },
                    Demand::ModifiedAt(at) => Compare::ModifiedAt(key, Revision(at)),
                }
            })
            .collect();
        let holds = compare.iter().all(|compare| match compare {
            Compare::Absent(key) => !now.contains_key(key),
            Compare::Present(key) => now.contains_key(key),
            Compare::ModifiedAt(key, at) => now.get(key).is_some_and(|kv| kv.modified == *at),
        });
        let current = compare
            .iter()
            .map(|compare| now.get(compare.key()).cloned())
            .collect();
        let ops: Vec<_> = then
            .iter()
            .map(|(number, value)| match value {
                Some(value) => Op::Put(key(*number), Bytes::copy_from_slice(&[*value])),
                None => Op::Delete(key(*number)),
            })
            .collect();
        if holds {
            self.apply(&ops);
        }
        let revision = Revision(self.revision());
        let expected = if holds {
            TxnOutcome::Committed { revision }
        } else {
            TxnOutcome::Failed { revision, current }
        };
        let txn = Txn { compare, then: ops };
        assert_eq!(store.txn(txn).await.expect("judged"), expected);
    }

    fn apply(&mut self, ops: &[Op]) {
        let mut state = self.state(self.revision()).clone();
        let modified = Revision(self.revision() + 1);
        let mut changed = false;
        for op in ops {
            changed |= match op {
                Op::Delete(key) => state.remove(key).is_some(),
                Op::Put(key, value) => {
                    let created = state.get(key).map_or(modified, |there| there.created);
                    let item = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        created,
                        modified,
                    };
                    state.insert(key.clone(), item);
                    true
                }
            };
        }
        if changed {
            self.states.push(state);
        }
    }

    async fn read(&self, store: &Arc<dyn Store>, back: u64, limit: usize) {
        let at = self.revision().saturating_sub(back);
        let revision = Revision(at);
        if at < self.compacted {
            let refused = store.range(b"/", None, limit, Some(revision)).await;
            assert!(matches!(refused, Err(StoreError::Compacted { .. })));
            return;
        }
        let state = self.state(at);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store
                .range(b"/", after.as_deref(), limit, Some(revision))
                .await;
            let page = page.expect("readable");
            assert_eq!(page.revision, revision);
            assert!(page.items.len() == limit || !page.more);
            after = page.items.last().map(|item| item.key.clone());
            seen.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, state.values().cloned().collect::<Vec<_>>());
        for number in KEYS {
            let key = key(number);
            let found = store.get(&key, Some(revision)).await.expect("readable");
            assert_eq!(found.as_ref(), state.get(&key));
        }
    }

    async fn watch(&self, store: &Arc<dyn Store>, back: u64) {
        let after = self.revision().saturating_sub(back);
        let watch = store.watch(b"/", Revision(after)).await;
        if after < self.compacted {
            assert!(matches!(watch.err(), Some(StoreError::Compacted { .. })));
            return;
        }
        let mut watch = watch.expect("watches");
        let mut state = self.state(after).clone();
        let mut at = after;
        while at < self.revision() {
            let batch = next(&mut watch).await.expect("goes on");
            assert_eq!(batch.revision, Revision(at + 1));
            at += 1;
            for event in batch.events {
                replay(&mut state, batch.revision, event);
            }
            assert_eq!(&state, self.state(at));
        }
    }
}

fn replay(state: &mut State, modified: Revision, event: Event) {
    let key = event.key;
    let before = state.remove(&key).map(|item| item.value);
    match event.change {
        Change::Delete { previous } => assert_eq!(before, Some(previous)),
        Change::Put {
            value,
            created,
            previous,
        } => {
            assert_eq!(before, previous);
            let item = KeyValue {
                key: key.clone(),
                value,
                created,
                modified,
            };
            state.insert(key, item);
        }
    }
}

fn key(number: u8) -> Bytes {
    Bytes::from(format!("/{number}"))
}
