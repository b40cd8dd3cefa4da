//! The real binaries, started in the namespaces of a sandbox and driven through their public interfaces only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::netns::Door;
use crate::sandbox::{CONTROL_PLANE, Sandbox};

mod api;
mod binaries;
mod command_line;
mod figures;
mod process;

pub use api::Api;
pub use binaries::Binaries;
pub use command_line::{Output, Palisadectl};
pub use figures::Figures;
pub use process::Process;

/// How long a daemon may take to say it is ready; the machine may be busy building.
const START: Duration = Duration::from_secs(30);
/// Where a node's daemon shows its figures, in its own namespace.
const NODE_HTTP: &str = "127.0.0.1:7603";

/// A control plane and a daemon on every protected host. Everything ends on drop.
pub struct Deployment {
    binaries: Binaries,
    folder: tempfile::TempDir,
    controlplane: Option<Process>,
    controlplane_door: Door,
    nodes: BTreeMap<String, Node>,
}

/// The daemon of one protected host.
struct Node {
    door: Door,
    process: Option<Process>,
}

impl Deployment {
    /// Starts the control plane of the sandbox; nodes are added with [`Deployment::enrol`].
    ///
    /// # Errors
    ///
    /// Where it does not become ready.
    pub fn start(sandbox: &Sandbox, binaries: &Binaries) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("palisade-")
            .tempdir()
            .context("make a folder for the deployment")?;
        let controlplane_door = sandbox.controlplane().door();
        let mut deployment = Self {
            binaries: binaries.clone(),
            folder,
            controlplane: None,
            controlplane_door,
            nodes: BTreeMap::new(),
        };
        deployment.start_controlplane()?;
        Ok(deployment)
    }

    /// Starts the control plane on its folder, as after a crash.
    ///
    /// # Errors
    ///
    /// Where it does not become ready.
    pub fn start_controlplane(&mut self) -> Result<()> {
        let mut command = Command::new(&self.binaries.controlplane);
        command.arg("--data-dir").arg(self.path("controlplane"));
        command.args([
            "--listen",
            &format!("{CONTROL_PLANE}:7600"),
            "--enroll-listen",
            &format!("{CONTROL_PLANE}:7601"),
        ]);
        command.args([
            "--http-listen",
            "127.0.0.1:7602",
            "--advertise",
            &CONTROL_PLANE.to_string(),
        ]);
        self.controlplane =
            Some(self.launch("controlplane", &self.controlplane_door, &mut command)?);
        Ok(())
    }

    /// Starts the daemon of a host for the first time, with a join token.
    ///
    /// # Errors
    ///
    /// Where no token is given out, or the daemon does not become ready.
    pub fn enrol(&mut self, sandbox: &Sandbox, host: &str) -> Result<()> {
        let token = self
            .palisadectl()
            .run(&["token", "create", "--node", host], "")?
            .success()?
            .trim()
            .to_owned();
        let door = sandbox.station(host)?.namespace().door();
        self.nodes.insert(
            host.to_owned(),
            Node {
                door,
                process: None,
            },
        );
        self.launch_node(host, &["--token", &token])
    }

    /// Starts the daemon of an enrolled host again, on the state it left.
    ///
    /// # Errors
    ///
    /// Where it does not become ready.
    pub fn start_node(&mut self, host: &str) -> Result<()> {
        self.launch_node(host, &[])
    }

    /// The same by another command that runs the daemon's in the end, as a service manager does.
    ///
    /// # Errors
    ///
    /// Where it does not become ready.
    pub fn start_node_as(
        &mut self,
        host: &str,
        wrap: impl FnOnce(&Command) -> Command,
    ) -> Result<()> {
        let (door, command) = self.node_command(host)?;
        let process = self.launch(host, &door, &mut wrap(&command))?;
        self.put_node(host, process);
        Ok(())
    }

    /// The same, without waiting until it is ready: for those who kill it before.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn begin_node(&mut self, host: &str) -> Result<()> {
        let (door, mut command) = self.node_command(host)?;
        let log = self.path(&format!("{host}.log"));
        let process = Process::start(host, &door, &mut command, &log)?;
        self.put_node(host, process);
        Ok(())
    }

    /// The control plane's process.
    ///
    /// # Errors
    ///
    /// Where it was not started.
    pub fn controlplane(&mut self) -> Result<&mut Process> {
        self.controlplane.as_mut().context("the control plane runs")
    }

    /// The daemon of a host.
    ///
    /// # Errors
    ///
    /// Where it was not started.
    pub fn node(&mut self, host: &str) -> Result<&mut Process> {
        self.nodes
            .get_mut(host)
            .and_then(|node| node.process.as_mut())
            .with_context(|| format!("{host} has a daemon"))
    }

    /// The command line tool, as the administrator that the first start made.
    pub fn palisadectl(&self) -> Palisadectl {
        let context = self.path("controlplane").join("admin.yaml");
        Palisadectl::new(
            self.binaries.palisadectl.clone(),
            self.controlplane_door.clone(),
            context,
        )
    }

    /// The namespace of the control plane, and the context file of the administrator in it: for other clients.
    pub fn administrator(&self) -> (&Door, PathBuf) {
        let context = self.path("controlplane").join("admin.yaml");
        (&self.controlplane_door, context)
    }

    /// A file below the folder in which daemons may keep files of sinks, and have their state below their names.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// The figures of a host's daemon, as it shows them.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn figures(&self, host: &str) -> Result<Figures> {
        let node = self.nodes.get(host);
        let door = &node.with_context(|| format!("{host} is enrolled"))?.door;
        Figures::read(door, NODE_HTTP).with_context(|| format!("figures of {host}"))
    }

    /// The status that `/readyz` of a host's daemon answers with.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn readyz(&self, host: &str) -> Result<u16> {
        let node = self.nodes.get(host);
        let door = &node.with_context(|| format!("{host} is enrolled"))?.door;
        figures::readyz(door, NODE_HTTP).with_context(|| format!("readiness of {host}"))
    }

    /// What every daemon logged, with its name before it.
    pub fn logs(&self) -> String {
        let nodes = self
            .nodes
            .iter()
            .map(|(name, node)| (name.as_str(), node.process.as_ref()));
        let daemons = [("controlplane", self.controlplane.as_ref())]
            .into_iter()
            .chain(nodes);
        daemons
            .map(|(name, _)| format!("--- {name}\n{}", self.log(name)))
            .collect()
    }

    fn log(&self, name: &str) -> String {
        std::fs::read(self.path(&format!("{name}.log")))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn launch_node(&mut self, host: &str, more: &[&str]) -> Result<()> {
        let (door, mut command) = self.node_command(host)?;
        let process = self.launch(host, &door, command.args(more))?;
        self.put_node(host, process);
        Ok(())
    }

    fn put_node(&mut self, host: &str, process: Process) {
        if let Some(node) = self.nodes.get_mut(host) {
            node.process = Some(process);
        }
    }

    fn node_command(&self, host: &str) -> Result<(Door, Command)> {
        let door = self
            .nodes
            .get(host)
            .with_context(|| format!("{host} is enrolled"))?
            .door
            .clone();
        let mut command = Command::new(&self.binaries.node);
        command.args([
            "run",
            "--server",
            &format!("{CONTROL_PLANE}:7600"),
            "--node-name",
            host,
        ]);
        command
            .arg("--state-dir")
            .arg(self.path(host))
            .arg("--sink-dir")
            .arg(self.folder.path())
            .args(["--http-listen", NODE_HTTP]);
        Ok((door, command))
    }

    fn launch(&self, name: &str, door: &Door, command: &mut Command) -> Result<Process> {
        let log = self.path(&format!("{name}.log"));
        let process = Process::start(name, door, command, &log)?;
        if let Err(error) = process.wait_until_ready(START) {
            bail!("{error:#}\n{}", self.log(name));
        }
        Ok(process)
    }
}

/// A command whose output goes to the end of a file.
fn logging_to(command: &mut Command, log: &Path) -> Result<()> {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("share the log")?)
        .stderr(file);
    Ok(())
}
