//! A compiled and linked component: what all its instances have in common.

use std::sync::Arc;

use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::auditing::AuditorPluginPre;
use crate::bindings::matching::MatcherPluginPre;
use crate::bindings::{self, sinks};
use crate::configured::{Configured, Options};
use crate::digest::Digest;
use crate::engine::Inner;
use crate::guest::Guest;
use crate::manifest::Manifest;
use crate::problem::SettingsError;
use crate::verify::{Kind, Kinds, Refusal, Verified};
use crate::wasi;

/// A loaded plugin. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) inner: Arc<Loaded>,
}

pub(crate) struct Loaded {
    pub(crate) host: Arc<Inner>,
    pub(crate) digest: Digest,
    pub(crate) kinds: Kinds,
    pub(crate) manifest: Manifest,
    pub(crate) matcher: Option<MatcherPluginPre<Guest>>,
    pub(crate) auditor: Option<AuditorPluginPre<Guest>>,
}

impl Plugin {
    pub(crate) fn load(host: &Arc<Inner>, verified: &Verified) -> Result<Self, Refusal> {
        let component = compiled(host, verified)?;
        let types = |error: wasmtime::Error| Refusal::Types {
            reason: format!("{error:#}"),
        };
        let linker = linker(host, &component).map_err(types)?;
        let pre = linker.instantiate_pre(&component).map_err(types)?;
        let kinds = verified.kinds();
        let matcher = kinds
            .has(Kind::Matcher)
            .then(|| MatcherPluginPre::new(pre.clone()))
            .transpose()
            .map_err(types)?;
        let auditor = kinds
            .has(Kind::Auditor)
            .then(|| AuditorPluginPre::new(pre))
            .transpose()
            .map_err(types)?;
        Ok(Self {
            inner: Arc::new(Loaded {
                host: Arc::clone(host),
                digest: verified.digest(),
                kinds,
                manifest: verified.manifest().clone(),
                matcher,
                auditor,
            }),
        })
    }

    /// The name of its bytes.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// What it can do.
    pub fn kinds(&self) -> Kinds {
        self.inner.kinds
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Lets the plugin judge settings (JSON text), in an instance of its own with nothing around it.
    ///
    /// # Errors
    ///
    /// The problems it found, or how it failed.
    pub fn validate(&self, settings: &str) -> Result<(), SettingsError> {
        let options = Options::default();
        let configured = Configured::new(self.clone(), settings, options);
        configured.validate()
    }

    /// The plugin with settings, ready for workers. Runs nothing: instances are made by the workers.
    pub fn with_settings(&self, settings: &str, options: Options) -> Configured {
        Configured::new(self.clone(), settings, options)
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.inner.manifest.name)
            .field("digest", &self.inner.digest)
            .finish_non_exhaustive()
    }
}

fn compiled(host: &Inner, verified: &Verified) -> Result<Component, Refusal> {
    let cache = host.config.cache.as_ref();
    if let Some(found) = cache.and_then(|cache| cache.find(&host.engine, verified.digest())) {
        return Ok(found);
    }
    let component = Component::from_binary(&host.engine, &verified.bytes).map_err(|error| {
        Refusal::Compile {
            reason: format!("{error:#}"),
        }
    })?;
    if let Some(cache) = cache {
        // A full disk costs time at the next start, and nothing else.
        let _ = cache.keep(&host.engine, verified.digest(), &component);
    }
    Ok(component)
}

fn linker(host: &Inner, component: &Component) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(&host.engine);
    wasi::link(&mut linker, component)?;
    let linked: &mut Linker<Guest> = &mut linker;
    bindings::types::add_to_linker::<_, HasSelf<Guest>>(linked, |guest| guest)?;
    bindings::host::add_to_linker::<_, HasSelf<Guest>>(linked, |guest| guest)?;
    bindings::inventory::add_to_linker::<_, HasSelf<Guest>>(linked, |guest| guest)?;
    bindings::state::add_to_linker::<_, HasSelf<Guest>>(linked, |guest| guest)?;
    sinks::add_to_linker::<_, HasSelf<Guest>>(linked, |guest| guest)?;
    Ok(linker)
}
