//! How a stream begins: Hello, and finding out what the node holds.

use super::{Effect, Ending, Held, PING_EVERY, Phase, SCHEMA, SILENCE, Session, position};
use palisade_policy::{
    digest::ItemHash,
    item::{ItemId, ItemKind},
    table::ItemTable,
    view::{Digest, Position},
};
use palisade_proto::v1::{self, stream_view_response::Message as ToNode};
use std::{collections::BTreeMap, time::Duration};

impl Session {
    pub(super) fn on_hello(
        &mut self,
        now: Duration,
        hello: v1::Hello,
    ) -> Result<Vec<Effect>, Ending> {
        if hello.min_schema > SCHEMA || hello.max_schema < SCHEMA {
            return Err(Ending::Schema {
                min: hello.min_schema,
                max: hello.max_schema,
            });
        }
        let have = position(hello.have.as_ref())?;
        self.memory.held_before = have.is_some();
        self.memory.enforced = position(hello.enforced.as_ref())?;
        self.memory.agent_version = hello.agent_version;
        self.memory.report = hello.report.or(self.memory.report.take());
        self.memory.forgive();
        self.changed = true;
        let welcome = v1::Welcome {
            schema: SCHEMA,
            current: self.target().map(|(to, _)| (&to).into()),
            ping_seconds: seconds(PING_EVERY),
            silence_seconds: seconds(SILENCE),
        };
        let mut effects = vec![Effect::Send(ToNode::Welcome(welcome))];
        self.phase = Phase::Streaming;
        let Some(have) = have else {
            effects.extend(self.advance(now));
            return Ok(effects);
        };
        if let Some(table) = self.table_of(&have.digest) {
            self.held = Held::Table(have, table);
            effects.extend(self.confirm());
            effects.extend(self.advance(now));
        } else {
            self.phase = Phase::AwaitingInventory(have);
            effects.push(Effect::Send(ToNode::WantInventory(v1::WantInventory {})));
        }
        Ok(effects)
    }

    /// The items behind a digest, where it is that of the latest view or of the one last acknowledged.
    fn table_of(&self, digest: &Digest) -> Option<ItemTable> {
        let latest = self.latest.as_ref().map(|latest| &latest.table);
        let acknowledged = self.memory.acknowledged.as_ref().map(|(_, table)| table);
        let mut known = latest.into_iter().chain(acknowledged);
        known.find(|table| table.digest() == *digest).cloned()
    }

    pub(super) fn on_inventory(
        &mut self,
        now: Duration,
        have: Position,
        inventory: v1::Inventory,
    ) -> Result<Vec<Effect>, Ending> {
        const BAD: Ending = Ending::Protocol("the inventory is malformed");
        let mut digest = Digest::default();
        let mut hashes = BTreeMap::new();
        for item in inventory.items {
            let kind = ItemKind::from_number(item.kind).ok_or(BAD)?;
            let id = ItemId::new(kind, item.id);
            let hash = ItemHash(item.hash.as_slice().try_into().map_err(|_| BAD)?);
            digest.add_item(&id, &hash);
            if hashes.insert(id, hash).is_some() {
                return Err(BAD);
            }
        }
        // A node that cannot tell what it holds gets everything.
        self.held = if digest == have.digest {
            Held::Hashes(have, hashes)
        } else {
            Held::Nothing
        };
        self.phase = Phase::Streaming;
        Ok(self.advance(now))
    }

    /// Says that the node holds the desired view already.
    pub(super) fn confirm(&mut self) -> Option<Effect> {
        let (to, table) = self.target()?;
        let held = self.held.position()?;
        if held.digest != to.digest {
            return None;
        }
        let to = Position {
            revision: floor(&to, held),
            ..to
        };
        if self.memory.enforced.is_some_and(|e| e.digest == to.digest) {
            self.memory.enforced = Some(to);
        }
        self.memory.acknowledged = Some((to, table.clone()));
        self.held = Held::Table(to, table);
        self.changed = true;
        Some(Effect::Send(ToNode::Unchanged((&to).into())))
    }
}

/// A revision at which the node does not go back.
fn floor(to: &Position, held: &Position) -> u64 {
    if to.epoch == held.epoch {
        to.revision.max(held.revision)
    } else {
        to.revision
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
