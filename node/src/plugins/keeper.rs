//! The task that keeps plugins loaded: loads what the view wants, fetches what is not here, lets go of the rest.
//!
//! Compiling and reading are done on a blocking thread, so that neither the stream nor a packet waits for them.

use super::{
    blobs::Blobs,
    fetch::{FetchError, fetch},
    load::{self, Loaded},
    loaded::{LoadedPlugin, LoadedPlugins, Readiness},
};
use crate::{backoff::Backoff, cause::chain, enforce::Wanted};
use palisade_plugin_host::{Ceilings, Configured, Host, MAX_SIZE, Options, Surroundings};
use palisade_policy::{ids::PluginId, plugin::Plugin};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{sync::watch, time::Instant};
use tonic::transport::Channel;

/// Makes what is around a plugin.
pub type Around = Box<dyn Fn(&PluginId, &Plugin) -> Arc<dyn Surroundings> + Send + Sync>;

/// The task and what it has.
pub struct Keeper {
    dir: PathBuf,
    around: Around,
    wanted: watch::Receiver<Arc<Wanted>>,
    /// The connection to the control plane, while there is one.
    channel: watch::Receiver<Option<Channel>>,
    loaded: watch::Sender<Arc<LoadedPlugins>>,
    /// Made for the first plugin, let go of with the last one.
    engine: Option<(Host, Blobs)>,
    /// Compiled code in use, by name.
    found: BTreeMap<PluginId, (Arc<Plugin>, palisade_plugin_host::Plugin)>,
}

impl Keeper {
    /// Keeps plugins below a directory, which is made when there is something to keep.
    pub fn new(
        dir: &Path,
        around: Around,
        wanted: watch::Receiver<Arc<Wanted>>,
        channel: watch::Receiver<Option<Channel>>,
    ) -> (Self, watch::Receiver<Arc<LoadedPlugins>>) {
        let (loaded, receiver) = watch::channel(Arc::default());
        let keeper = Self {
            dir: dir.to_owned(),
            around,
            wanted,
            channel,
            loaded,
            engine: None,
            found: BTreeMap::new(),
        };
        (keeper, receiver)
    }

    /// Until nobody says any more what is wanted.
    pub async fn run(mut self) {
        let mut patience = Backoff::stream();
        let mut not_before = None;
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            self.load_wanted(&wanted).await;
            loop {
                let missing = self.missing();
                let channel = self.channel.borrow_and_update().clone();
                let next = tokio::select! {
                    biased;
                    changed = self.wanted.changed() => match changed {
                        Ok(()) => Next::Reshelve,
                        Err(_) => return,
                    },
                    // A new connection may bring what the last one did not.
                    Ok(()) = self.channel.changed() => Next::Again,
                    fetched = bring(&self.engine, missing.as_ref(), channel, not_before) => Next::Fetched(fetched),
                };
                let (fetched, id, plugin) = match (next, missing) {
                    (Next::Fetched(fetched), Some((id, plugin))) => (fetched, id, plugin),
                    (Next::Again, _) => {
                        patience.reset();
                        not_before = None;
                        continue;
                    }
                    (Next::Reshelve | Next::Fetched(_), _) => break,
                };
                let trouble = match fetched {
                    Ok(()) if self.shelve(&id, &plugin).await => {
                        patience.reset();
                        not_before = None;
                        continue;
                    }
                    Ok(()) => "what was fetched is not what the digest names".to_owned(),
                    Err(err) => chain(&err),
                };
                tracing::warn!(plugin = %id, err = trouble, "plugin not fetched; the failure policy decides");
                self.put(&id, &plugin, Readiness::Fetching { trouble });
                not_before = Some(Instant::now() + patience.next(&mut rand::rng()));
            }
        }
    }

    /// The next plugin whose bytes are not here; those that met no trouble first.
    fn missing(&self) -> Option<(PluginId, Arc<Plugin>)> {
        let loaded = self.loaded.borrow();
        let fetching = loaded.plugins.iter().filter_map(|(id, shelved)| {
            let Readiness::Fetching { trouble } = &shelved.readiness else {
                return None;
            };
            Some((!trouble.is_empty(), id, &shelved.plugin))
        });
        let (_, id, plugin) =
            fetching.min_by_key(|(troubled, id, _)| (*troubled, (*id).clone()))?;
        Some((id.clone(), Arc::clone(plugin)))
    }

    /// Loads what is wanted: at once what is loaded, then what is on disk.
    async fn load_wanted(&mut self, wanted: &Wanted) {
        self.found.retain(|id, (plugin, _)| {
            let still = wanted.plugins.get(id);
            still.is_some_and(|(new, _)| new.digest == plugin.digest && new.kind == plugin.kind)
        });
        let mut unknown = Vec::new();
        let old = Arc::clone(&self.loaded.borrow());
        let mut loaded = LoadedPlugins::default();
        for (id, (plugin, settings)) in &wanted.plugins {
            let before = old.plugins.get(id).filter(|old| old.plugin == *plugin);
            let readiness = match (self.found.get(id), before.map(|old| &old.readiness)) {
                (Some((_, code)), before) => {
                    Readiness::Ready(self.configure(id, plugin, code, settings, before))
                }
                (None, Some(Readiness::Refused { reason })) => Readiness::Refused {
                    reason: reason.clone(),
                },
                (None, _) => {
                    unknown.push((id.clone(), Arc::clone(plugin)));
                    Readiness::Fetching {
                        trouble: String::new(),
                    }
                }
            };
            let plugin = Arc::clone(plugin);
            loaded
                .plugins
                .insert(id.clone(), LoadedPlugin { plugin, readiness });
        }
        let digests: BTreeSet<_> = loaded.digests().collect();
        let empty = digests.is_empty();
        self.loaded.send_replace(Arc::new(loaded));
        // Before the first view nothing is known to be old.
        if !empty || self.engine.is_some() {
            let (code, named) = (self.dir.join("code"), digests.clone());
            let retained = blocking(move || load::retain_code(&code, &named)).await;
            if let Err(err) = retained {
                tracing::warn!(%err, "compiled code of old plugins stays on disk");
            }
        }
        if empty {
            // Nothing keeps the engine but what still calls it.
            self.engine = None;
            return;
        }
        for (id, plugin) in unknown {
            self.shelve(&id, &plugin).await;
        }
        if let Some((_, blobs)) = self.engine.clone() {
            let tidied = blocking(move || blobs.tidy(&digests)).await;
            if let Err(err) = tidied {
                tracing::warn!(%err, "old plugins stay on disk");
            }
        }
    }

    /// Loads a plugin whose bytes may be on disk; false: they are not.
    async fn shelve(&mut self, id: &PluginId, plugin: &Arc<Plugin>) -> bool {
        let readiness = match self.load(plugin).await {
            Ok(Loaded::Ready(code)) => {
                let wanted = Arc::clone(&self.wanted.borrow());
                let settings = wanted.plugins.get(id).map(|(_, settings)| settings.clone());
                let settings = settings.unwrap_or_default();
                let configured = self.configure(id, plugin, &code, &settings, None);
                self.found.insert(id.clone(), (Arc::clone(plugin), code));
                tracing::info!(plugin = %id, digest = %plugin.digest, "plugin found");
                Readiness::Ready(configured)
            }
            Ok(Loaded::Absent) => Readiness::Fetching {
                trouble: String::new(),
            },
            Ok(Loaded::Refused(reason)) => {
                tracing::warn!(plugin = %id, reason, "plugin refused; the failure policy decides");
                Readiness::Refused { reason }
            }
            Err(err) => Readiness::Fetching {
                trouble: err.to_string(),
            },
        };
        let there = !matches!(readiness, Readiness::Fetching { .. });
        self.put(id, plugin, readiness);
        there
    }

    fn put(&self, id: &PluginId, plugin: &Arc<Plugin>, readiness: Readiness) {
        self.loaded.send_modify(|loaded| {
            let plugin = Arc::clone(plugin);
            let shelved = LoadedPlugin { plugin, readiness };
            Arc::make_mut(loaded).plugins.insert(id.clone(), shelved);
        });
    }

    async fn load(&mut self, plugin: &Arc<Plugin>) -> io::Result<Loaded> {
        if plugin.size > MAX_SIZE as u64 {
            let reason = format!("it has {} bytes, {MAX_SIZE} are allowed", plugin.size);
            return Ok(Loaded::Refused(reason));
        }
        if self.engine.is_none() {
            let dir = self.dir.clone();
            let made = blocking(move || {
                let blobs = Blobs::open(&dir)?;
                Ok((load::host(&dir.join("code")), blobs))
            });
            match made.await? {
                (Ok(host), blobs) => self.engine = Some((host, blobs)),
                (Err(err), _) => return Ok(Loaded::Refused(chain(&err))),
            }
        }
        let Some((host, blobs)) = self.engine.clone() else {
            return Ok(Loaded::Absent);
        };
        let plugin = Arc::clone(plugin);
        blocking(move || load::load(&host, &blobs, &plugin)).await
    }

    /// The plugin with each of the settings; what was configured so before stays the same.
    fn configure(
        &self,
        id: &PluginId,
        plugin: &Plugin,
        code: &palisade_plugin_host::Plugin,
        settings: &BTreeSet<String>,
        before: Option<&Readiness>,
    ) -> BTreeMap<String, Arc<Configured>> {
        let old = match before {
            Some(Readiness::Ready(old)) => Some(old),
            Some(Readiness::Fetching { .. } | Readiness::Refused { .. }) | None => None,
        };
        let made = |text: &str| {
            let options = Options {
                ceilings: Ceilings {
                    fuel: Some(plugin.fuel),
                    memory: Some(plugin.memory),
                },
                surroundings: (self.around)(id, plugin),
            };
            Arc::new(code.with_settings(text, options))
        };
        settings
            .iter()
            .map(|text| {
                let kept = old.and_then(|old| old.get(text)).cloned();
                (text.clone(), kept.unwrap_or_else(|| made(text)))
            })
            .collect()
    }
}

enum Next {
    Reshelve,
    Again,
    Fetched(Result<(), FetchError>),
}

/// Brings the bytes of one plugin; never ends without one that is missing, or without a connection.
async fn bring(
    engine: &Option<(Host, Blobs)>,
    missing: Option<&(PluginId, Arc<Plugin>)>,
    channel: Option<Channel>,
    not_before: Option<Instant>,
) -> Result<(), FetchError> {
    let (Some((_, blobs)), Some((_, plugin)), Some(channel)) = (engine, missing, channel) else {
        return std::future::pending().await;
    };
    if let Some(not_before) = not_before {
        tokio::time::sleep_until(not_before).await;
    }
    let mut partial = blobs.resume(&plugin.digest, plugin.size)?;
    match fetch(channel, &plugin.digest, plugin.size, &mut partial).await {
        Ok(()) => Ok(blocking(move || partial.finish()).await?),
        Err(err) => {
            if matches!(err, FetchError::Other) {
                blobs.discard(&plugin.digest)?;
            }
            Err(err)
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|err| Err(io::Error::other(err)))
}
