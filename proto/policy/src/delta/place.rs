//! Items of a held view: put, replaced, removed, with hashes and references kept right.

use super::Held;
use crate::{
    check::referents,
    digest::ItemHash,
    ids::{ClassId, EndpointId, PluginId, PolicyId, SetId},
    item::{ItemId, ItemKind},
    set::{IpSet, Member},
    wire::Body,
};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone, Debug)]
pub(super) enum Value {
    Body(Body),
    Set(Arc<IpSet>),
}

impl Held {
    pub(super) fn body(&self, id: &ItemId) -> Option<Body> {
        let text = || Arc::clone(&id.id);
        match id.kind {
            ItemKind::Config => Some(Body::Config(Arc::clone(&self.view.config))),
            ItemKind::Endpoint => {
                let endpoint = self.view.endpoints.get(&EndpointId::new(text()))?;
                Some(Body::Endpoint(Arc::clone(endpoint)))
            }
            ItemKind::Class => {
                let class = self.view.classes.get(&ClassId::new(text()))?;
                Some(Body::Class(Arc::clone(class)))
            }
            ItemKind::Policy => {
                let policy = self.view.policies.get(&PolicyId::new(text()))?;
                Some(Body::Policy(Arc::clone(policy)))
            }
            ItemKind::Plugin => {
                let plugin = self.view.plugins.get(&PluginId::new(text()))?;
                Some(Body::Plugin(Arc::clone(plugin)))
            }
            ItemKind::Set => None,
        }
    }

    /// Puts or removes an item and gives what was there.
    pub(super) fn swap(
        &mut self,
        id: &ItemId,
        new: Option<(Value, ItemHash)>,
    ) -> Option<(Value, ItemHash)> {
        let (value, hash) = new.unzip();
        if let Some(Value::Body(body)) = &value {
            for referent in referents(body) {
                *self.uses.entry(referent).or_default() += 1;
            }
        }
        let old = self.place(id, value);
        if let Some(Value::Body(body)) = &old {
            for referent in referents(body) {
                self.unuse(referent);
            }
        }
        let old_hash = self.rehash(id, hash);
        // At first the config stands in the view, but is not an item yet: then it has no hash, and nothing was there.
        old.zip(old_hash)
    }

    fn unuse(&mut self, referent: ItemId) {
        use std::collections::hash_map::Entry;
        if let Entry::Occupied(mut uses) = self.uses.entry(referent) {
            *uses.get_mut() -= 1;
            if *uses.get() == 0 {
                uses.remove();
            }
        }
    }

    fn place(&mut self, id: &ItemId, value: Option<Value>) -> Option<Value> {
        fn exchange<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            }
        }
        let text = Arc::clone(&id.id);
        let view = &mut self.view;
        match (id.kind, value) {
            (ItemKind::Config, Some(Value::Body(Body::Config(config)))) => {
                let old = std::mem::replace(&mut view.config, config);
                Some(Value::Body(Body::Config(old)))
            }
            (ItemKind::Endpoint, value) => {
                let value = value.and_then(|v| match v {
                    Value::Body(Body::Endpoint(endpoint)) => Some(endpoint),
                    _ => None,
                });
                let old = exchange(&mut view.endpoints, EndpointId::new(text), value)?;
                Some(Value::Body(Body::Endpoint(old)))
            }
            (ItemKind::Class, value) => {
                let value = value.and_then(|v| match v {
                    Value::Body(Body::Class(class)) => Some(class),
                    _ => None,
                });
                let old = exchange(&mut view.classes, ClassId::new(text), value)?;
                Some(Value::Body(Body::Class(old)))
            }
            (ItemKind::Policy, value) => {
                let value = value.and_then(|v| match v {
                    Value::Body(Body::Policy(policy)) => Some(policy),
                    _ => None,
                });
                let old = exchange(&mut view.policies, PolicyId::new(text), value)?;
                Some(Value::Body(Body::Policy(old)))
            }
            (ItemKind::Plugin, value) => {
                let value = value.and_then(|v| match v {
                    Value::Body(Body::Plugin(plugin)) => Some(plugin),
                    _ => None,
                });
                let old = exchange(&mut view.plugins, PluginId::new(text), value)?;
                Some(Value::Body(Body::Plugin(old)))
            }
            (ItemKind::Set, value) => {
                let value = value.and_then(|v| match v {
                    Value::Set(set) => Some(set),
                    Value::Body(_) => None,
                });
                exchange(&mut view.sets, SetId::new(text), value).map(Value::Set)
            }
            (ItemKind::Config, _) => None,
        }
    }

    pub(super) fn patch(&mut self, id: &SetId, add: &[Member], remove: &[Member]) {
        let Some(set) = self.view.sets.get_mut(id) else {
            return;
        };
        let set = Arc::make_mut(set);
        for member in remove {
            set.remove(member);
        }
        for member in add {
            set.insert(member);
        }
    }

    pub(super) fn rehash(&mut self, id: &ItemId, hash: Option<ItemHash>) -> Option<ItemHash> {
        let old = match hash {
            Some(hash) => {
                self.digest.add_item(id, &hash);
                self.hashes.insert(id.clone(), hash)
            }
            None => self.hashes.remove(id),
        };
        if let Some(old) = &old {
            self.digest.remove_item(id, old);
        }
        old
    }
}
