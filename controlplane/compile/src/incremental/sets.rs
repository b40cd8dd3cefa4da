//! Membership of every set that some policy names, with a count of objects behind each member.

use crate::{
    object::{Object, difference},
    set::SetDefinition,
};
use ipnet::IpNet;
use palisade_policy::{digest::ItemHash, ids::SetId, members::Members, set::Member, table::Item};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// All sets in use.
#[derive(Default)]
pub(crate) struct Sets {
    sets: BTreeMap<SetId, State>,
}

struct State {
    definition: SetDefinition,
    /// Policies that name it; the set goes with the last.
    users: usize,
    /// Objects behind each member; no zeros.
    counts: HashMap<Member, usize>,
    members: Members,
    hash: ItemHash,
    item: Arc<Item>,
}

impl Sets {
    pub(crate) fn item(&self, id: &SetId) -> Option<&Arc<Item>> {
        self.sets.get(id).map(|set| &set.item)
    }

    /// One more policy names the set.
    pub(crate) fn add<'a>(
        &mut self,
        id: &SetId,
        definition: &SetDefinition,
        objects: impl Iterator<Item = &'a Object>,
    ) {
        if let Some(set) = self.sets.get_mut(id) {
            set.users += 1;
            return;
        }
        let mut counts = HashMap::new();
        for object in objects.filter(|object| definition.selects(object)) {
            for member in definition.members(object) {
                *counts.entry(member).or_default() += 1;
            }
        }
        let members: Members = counts.keys().copied().collect();
        let hash = ItemHash::of_members(members.iter());
        let set = State {
            definition: definition.clone(),
            users: 1,
            counts,
            hash,
            item: Arc::new(Item::set(id, members.clone(), hash)),
            members,
        };
        self.sets.insert(id.clone(), set);
    }

    /// One policy less names the set.
    pub(crate) fn release(&mut self, id: &SetId) {
        let gone = self.sets.get_mut(id).is_some_and(|set| {
            set.users -= 1;
            set.users == 0
        });
        if gone {
            self.sets.remove(id);
        }
    }

    /// An object changed, came or went; gives the sets with other members.
    pub(crate) fn replace(&mut self, old: Option<&Object>, new: Option<&Object>) -> Vec<SetId> {
        let change = ObjectChange::new(old, new);
        let mut changed = Vec::new();
        for (id, set) in &mut self.sets {
            if set.replace(&change) {
                set.item = Arc::new(Item::set(id, set.members.clone(), set.hash));
                changed.push(id.clone());
            }
        }
        changed
    }
}

/// An object before and after, with what is common to all sets of addresses.
struct ObjectChange<'a> {
    old: Option<&'a Object>,
    new: Option<&'a Object>,
    gone: Vec<Member>,
    come: Vec<Member>,
}

impl<'a> ObjectChange<'a> {
    fn new(old: Option<&'a Object>, new: Option<&'a Object>) -> Self {
        let (gone, come) = match (old, new) {
            (Some(old), Some(new)) => difference(&old.nets, &new.nets),
            _ => (Vec::new(), Vec::new()),
        };
        let members = |nets: Vec<IpNet>| nets.into_iter().map(Member::Net).collect();
        Self {
            old,
            new,
            gone: members(gone),
            come: members(come),
        }
    }
}

impl State {
    /// Whether the members are others now.
    fn replace(&mut self, change: &ObjectChange<'_>) -> bool {
        let definition = &self.definition;
        let selected = |object: Option<&Object>| object.is_some_and(|o| definition.selects(o));
        let members =
            |object: Option<&Object>| object.map_or_else(Vec::new, |o| definition.members(o));
        let (gone, come) = match (selected(change.old), selected(change.new), definition) {
            (false, false, _) => return false,
            (true, true, SetDefinition::Nets(_)) => (change.gone.clone(), change.come.clone()),
            (true, true, SetDefinition::Ports(..)) => (members(change.old), members(change.new)),
            (true, false, _) => (members(change.old), Vec::new()),
            (false, true, _) => (Vec::new(), members(change.new)),
        };
        let before = self.hash;
        // Those that come first: a member on both sides is never at zero in between.
        for member in come {
            let count = self.counts.entry(member).or_default();
            *count += 1;
            if *count == 1 {
                self.members.insert(member);
                self.hash.add_member(&member);
            }
        }
        for member in gone {
            use std::collections::hash_map::Entry;
            let Entry::Occupied(mut count) = self.counts.entry(member) else {
                continue;
            };
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                self.members.remove(&member);
                self.hash.remove_member(&member);
            }
        }
        self.hash != before
    }
}
