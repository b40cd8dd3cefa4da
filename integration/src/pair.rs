//! The smallest world with the product in it: one protected host, `host0`, and one `client` on the same segment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::format::{Probe, Protocol, Topology};
use crate::load::{Counts, Load, Stream};
use crate::netns::Namespace;
use crate::product::{Binaries, Deployment};
use crate::sandbox::Sandbox;
use crate::traffic::probe::observe;

/// The host's UDP port that policies of a test allow throughout.
pub const MUST_PASS: u16 = 9000;
/// The host's UDP port that no policy of a test ever allows.
pub const MUST_DROP: u16 = 9001;

const TOPOLOGY: &str = "
hosts:
  - name: host0
    interfaces: [{name: eth0, address: 10.65.0.10/24, address6: 'fd00:65::10/64'}]
    protected: true
    listeners: [{proto: udp, port: 9000}, {proto: udp, port: 9001}, {proto: tcp, port: 22}, {proto: tcp, port: 8055}, {proto: tcp, port: 8056}]
  - name: client
    interfaces: [{name: eth0, address: 10.65.0.20/24, address6: 'fd00:65::20/64'}]
";

/// The sandbox and the deployment in it.
pub struct Pair {
    /// The network.
    pub sandbox: Sandbox,
    /// The daemons; dropped first by being told so.
    pub deployment: Deployment,
}

impl Pair {
    /// Lays it out and starts the control plane and the host's daemon.
    ///
    /// # Errors
    ///
    /// Where anything does not become ready.
    pub fn start() -> Result<Self> {
        Self::start_on(TOPOLOGY)
    }

    /// The same on another topology with a protected `host0` and a `client`.
    ///
    /// # Errors
    ///
    /// Where anything does not become ready.
    pub fn start_on(topology: &str) -> Result<Self> {
        let topology: Topology = serde_saphyr::from_str(topology).context("read the topology")?;
        let sandbox = Sandbox::build(&topology, &BTreeSet::new())?;
        let mut deployment = Deployment::start(&sandbox, &Binaries::find()?)?;
        deployment.enrol(&sandbox, "host0")?;
        Ok(Self {
            sandbox,
            deployment,
        })
    }

    /// Applies documents and waits until they are enforced.
    ///
    /// # Errors
    ///
    /// Where that does not end well, with the logs.
    pub fn apply(&self, documents: &str) -> Result<()> {
        self.deployment
            .palisadectl()
            .apply(documents)
            .with_context(|| self.deployment.logs())
    }

    /// True where a probe from the client to the host fares as expected, twice in a row, within the usual patience.
    ///
    /// # Errors
    ///
    /// Where it cannot be sent.
    pub fn fares(&self, protocol: Protocol, port: u16, allow: bool) -> Result<bool> {
        self.shows(&Probe::new("client", "host0", protocol, port, allow))
    }

    /// True where the probe shows what it must, as [`Pair::fares`].
    ///
    /// # Errors
    ///
    /// Where it cannot be sent.
    pub fn shows(&self, probe: &Probe) -> Result<bool> {
        observe(&self.sandbox, probe, &BTreeSet::new())
    }

    /// Begins to send two streams from the client to the host: one to [`MUST_PASS`], one to [`MUST_DROP`].
    ///
    /// # Errors
    ///
    /// As [`Load::start`].
    pub fn load(&self) -> Result<Load> {
        Load::start(&self.sandbox, "host0", self.streams()?)
    }

    /// The same, as fast as the machine sends.
    ///
    /// # Errors
    ///
    /// As [`Load::flood`].
    pub fn flood(&self) -> Result<Load> {
        Load::flood(&self.sandbox, "host0", self.streams()?)
    }

    fn streams(&self) -> Result<Vec<Stream>> {
        let address = self.sandbox.station("host0")?.address(false);
        let address = address.context("host0 has an address")?;
        let streams = [(MUST_PASS, true), (MUST_DROP, false)].map(|(port, passes)| Stream {
            name: format!("udp/{port}"),
            from: "client".to_owned(),
            to: (address, port).into(),
            bytes: vec![0],
            passes,
            sink: None,
        });
        Ok(streams.to_vec())
    }

    /// Ends the streams and says what was counted.
    ///
    /// # Errors
    ///
    /// As [`Load::stop`].
    pub fn count(&self, load: Load) -> Result<Counts> {
        load.stop(&self.sandbox)
    }

    /// The namespace of the protected host.
    ///
    /// # Panics
    ///
    /// Never: every topology of a pair has it.
    pub fn host(&self) -> &Namespace {
        self.sandbox
            .station("host0")
            .expect("a pair has host0")
            .namespace()
    }

    /// Where the host's daemon has its state.
    pub fn state_dir(&self) -> PathBuf {
        self.deployment.file("host0")
    }

    /// Runs `palisade-node` on the host, with a state directory if one is given: how it ended, and what it said.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn palisade_node(
        &self,
        arguments: &[&str],
        state_dir: Option<&Path>,
    ) -> Result<(Option<i32>, String)> {
        let mut command = Command::new(Binaries::find()?.node);
        command.args(arguments);
        if let Some(dir) = state_dir {
            command.arg("--state-dir").arg(dir);
        }
        let output = self.host().output(&mut command, "")?;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    }

    /// Panics with the logs where a probe does not fare as expected.
    ///
    /// # Panics
    ///
    /// So that a test reads as a list of expectations.
    pub fn expect(&self, protocol: Protocol, port: u16, allow: bool) {
        let right = self
            .fares(protocol, port, allow)
            .expect("a probe that can be sent");
        let word = if allow { "allowed" } else { "denied" };
        assert!(
            right,
            "client -> host0 {protocol}/{port} should be {word}\n{}",
            self.deployment.logs()
        );
    }
}

/// A host endpoint for the host's `eth0`, with these labels besides `role: app`.
pub fn host_endpoint(label: &str, value: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata:\n  name: host0-eth0\n  labels:\n    role: app\n    {label}: '{value}'\n\
         spec:\n  node: host0\n  interfaceName: eth0\n  expectedIPs:\n  - 10.65.0.10\n---\n"
    )
}

/// A policy for `role: app` that allows these ports in, in this order, and says nothing about what goes out.
pub fn allow(name: &str, order: u32, protocol: &str, ports: &[u16]) -> String {
    let mut policy = format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: {name}\nspec:\n  order: {order}\n  \
         selector: role == 'app'\n  types: [Ingress]\n  ingress:\n"
    );
    for port in ports {
        policy.push_str(&format!(
            "  - action: Allow\n    protocol: {protocol}\n    destination:\n      ports: [{port}]\n"
        ));
    }
    policy + "---\n"
}
