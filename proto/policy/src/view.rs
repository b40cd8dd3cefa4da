//! A whole view, and its position in time.

use crate::{
    class::Class,
    config::NodeConfig,
    endpoint::Endpoint,
    ids::{ClassId, EndpointId, PluginId, PolicyId, SetId},
    plugin::Plugin,
    rule::Policy,
    set::IpSet,
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// One life of a store; a restore makes a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub [u8; 16]);

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

/// The sum modulo 2²⁵⁶ of the hashes of a view's items, little-endian. Equal digests are equal views.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

/// What `Begin`, `Commit` and `Ack` name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// Life of the store.
    pub epoch: Epoch,
    /// Revision the view was compiled at.
    pub revision: u64,
    /// Content.
    pub digest: Digest,
}

/// The compiled policy of one node.
///
/// INVARIANT (checked by `View::check`): every class, policy and set that is named exists; every endpoint has a normal
/// class for both directions; classes serve the list and direction they are named for; `s:` ids name nets, `p:` ids ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Beside policy.
    pub config: Arc<NodeConfig>,
    /// Endpoints of this node.
    pub endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
    /// Shared by endpoints.
    pub classes: BTreeMap<ClassId, Arc<Class>>,
    /// Policies and profiles, shared by classes.
    pub policies: BTreeMap<PolicyId, Arc<Policy>>,
    /// Shared by rules.
    pub sets: BTreeMap<SetId, Arc<IpSet>>,
    /// Matchers that rules name, and auditors.
    pub plugins: BTreeMap<PluginId, Arc<Plugin>>,
}
