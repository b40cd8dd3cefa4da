//! One network namespace with a name of its own: made, entered, configured, and gone on drop.
//!
//! Names are `pal-<pid>-<n>-<role>`, so that a later run can tell what a crashed one left behind. Refuses to touch a
//! namespace it did not make, and never runs anything in the namespace the process started in.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub mod conntrack;
mod sweep;

/// Where iproute2 keeps the names of network namespaces.
const NAMES: &str = "/run/netns";

/// A network namespace of ours; removed on drop, with every process still inside.
#[derive(Debug)]
pub struct Namespace {
    door: Door,
}

/// The way into a namespace, to be kept by those who make sockets there later.
#[derive(Debug, Clone)]
pub struct Door {
    name: String,
    handle: Arc<File>,
}

impl Door {
    /// The name of the namespace it leads to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace. Sockets and processes made there stay there.
    ///
    /// # Panics
    ///
    /// Where `work` panics, or the kernel refuses to enter a namespace we hold open.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("entering a namespace whose handle we hold");
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Namespace {
    /// Makes a namespace with loopback up, no duplicate address detection and no reverse path filter.
    /// `role` ends its name.
    ///
    /// # Errors
    ///
    /// Where `ip` is missing or refuses, usually for lack of privilege.
    pub fn create(role: &str) -> Result<Self> {
        Ok(Self::create_all(&[role])?.remove(0))
    }

    /// Makes several at once, in one `ip` process.
    ///
    /// # Errors
    ///
    /// As [`Namespace::create`].
    pub fn create_all(roles: &[&str]) -> Result<Vec<Self>> {
        static SWEEP: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep::remove_what_dead_processes_left);
        let names: Vec<String> = roles
            .iter()
            .map(|role| {
                format!(
                    "pal-{}-{}-{role}",
                    std::process::id(),
                    NEXT.fetch_add(1, Ordering::Relaxed)
                )
            })
            .collect();
        batch(
            &[],
            &names
                .iter()
                .map(|name| format!("netns add {name}\n"))
                .collect::<String>(),
        )?;
        names.into_iter().map(Self::open).collect()
    }

    fn open(name: String) -> Result<Self> {
        let handle = File::open(format!("{NAMES}/{name}"))
            .with_context(|| format!("open namespace {name}"))?;
        let namespace = Self {
            door: Door {
                name,
                handle: Arc::new(handle),
            },
        };
        for scope in ["all", "default"] {
            namespace.sysctl(&format!("ipv4.conf.{scope}.rp_filter"), "0")?;
            // Absent where the kernel was built without IPv6.
            if std::path::Path::new("/proc/sys/net/ipv6").exists() {
                namespace.sysctl(&format!("ipv6.conf.{scope}.accept_dad"), "0")?;
                namespace.sysctl(&format!("ipv6.conf.{scope}.accept_ra"), "0")?;
            }
        }
        namespace.ip("link set lo up\n")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        self.door.name()
    }

    /// Runs `work` inside, as [`Door::run`] does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.door.run(work)
    }

    /// The way in, for those who come back later.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Runs `ip` commands, one a line, inside the namespace; stops at the first that fails.
    ///
    /// # Errors
    ///
    /// With what `ip` printed.
    pub fn ip(&self, commands: &str) -> Result<()> {
        batch(&["-n", self.name()], commands)
            .with_context(|| format!("in namespace {}", self.name()))
    }

    /// Runs an nft script inside the namespace and returns what it printed.
    ///
    /// # Errors
    ///
    /// With what `nft` printed.
    pub fn nft(&self, script: &str) -> Result<String> {
        let output = self.output(Command::new("nft").args(["-f", "-"]), script)?;
        if !output.status.success() {
            bail!(
                "nft in {}: {}",
                self.name(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Sets `net.<key>`; dots separate the parts, as in `ipv4.ip_forward`.
    ///
    /// # Errors
    ///
    /// Where the kernel has no such setting.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{}", key.replace('.', "/"));
        // The files under /proc/sys/net are those of the namespace of the thread that opens them.
        self.run(|| std::fs::write(&path, value))
            .with_context(|| format!("write `{value}` to {path}"))
    }

    /// Starts a command inside the namespace.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        // A child inherits the namespace of the thread that starts it.
        self.run(|| command.spawn())
            .with_context(|| format!("start {program} in {}", self.name()))
    }

    /// Runs a command inside the namespace to its end, with `input` as its standard input.
    ///
    /// # Errors
    ///
    /// Where it cannot be started; how it ended is in the output.
    pub fn output(&self, command: &mut Command, input: &str) -> Result<Output> {
        let child = self.spawn(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )?;
        finish(child, input)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        sweep::remove(self.name());
    }
}

fn batch(options: &[&str], commands: &str) -> Result<()> {
    let child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start ip")?;
    let output = finish(child, commands)?;
    if !output.status.success() {
        bail!(
            "ip: {}; commands were:\n{commands}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Feeds a child and waits for its end.
pub(crate) fn finish(mut child: Child, input: &str) -> Result<Output> {
    if let Some(mut stdin) = child.stdin.take() {
        // A program may end without reading everything; how it ended says more than the broken pipe.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().context("wait for the command")
}
