//! What a fresh Debian machine lacks: asked for by what it is needed for, installed with apt-get where we are root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What building and the sandbox need.
pub(crate) const BUILD: [Need; 6] = [
    Need::program("pkg-config", "pkg-config"),
    Need::library("libmnl", "libmnl-dev"),
    Need::library("libnftnl", "libnftnl-dev"),
    Need::program("nft", "nftables"),
    Need::program("ip", "iproute2"),
    Need::target("wasm32-wasip2"),
];

/// What verification needs besides: the tools that judge style.
pub(crate) const VERIFY: [Need; 8] = {
    let [pkg_config, libmnl, libnftnl, nft, ip, plugins] = BUILD;
    [
        pkg_config,
        libmnl,
        libnftnl,
        nft,
        ip,
        plugins,
        Need::component("cargo-fmt", "rustfmt"),
        Need::component("cargo-clippy", "clippy"),
    ]
};

/// One thing and where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    what: What,
    source: &'static str,
}

#[derive(Clone, Copy)]
enum What {
    Program(&'static str),
    Library(&'static str),
    Component(&'static str),
    Target(&'static str),
}

impl Need {
    const fn program(name: &'static str, package: &'static str) -> Self {
        Self {
            what: What::Program(name),
            source: package,
        }
    }

    const fn library(name: &'static str, package: &'static str) -> Self {
        Self {
            what: What::Library(name),
            source: package,
        }
    }

    const fn component(program: &'static str, component: &'static str) -> Self {
        Self {
            what: What::Component(program),
            source: component,
        }
    }

    /// What plugins are built for.
    const fn target(name: &'static str) -> Self {
        Self {
            what: What::Target(name),
            source: name,
        }
    }

    fn is_there(&self) -> bool {
        match self.what {
            What::Program(name) | What::Component(name) => is_installed(name),
            What::Target(name) => has_target(name),
            What::Library(name) => quietly(Command::new("pkg-config").args(["--exists", name])),
        }
    }
}

/// Installs what is missing of `needs`, and says what it installs.
///
/// # Errors
///
/// Where something is missing that cannot be installed here, with what to do about it.
pub(crate) fn install(needs: &[Need]) -> Result<(), String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.is_there()).collect();
    let of = |kind: fn(&What) -> bool| -> Vec<&str> {
        let those = missing.iter().filter(|need| kind(&need.what));
        those.map(|need| need.source).collect()
    };
    let packages = of(|what| matches!(what, What::Program(_) | What::Library(_)));
    if !packages.is_empty() {
        install_packages(&packages)?;
    }
    rustup("component", &of(|what| matches!(what, What::Component(_))))?;
    rustup("target", &of(|what| matches!(what, What::Target(_))))?;
    match needs.iter().find(|need| !need.is_there()) {
        Some(need) => Err(format!("{} is installed but still not found", need.source)),
        None => Ok(()),
    }
}

fn rustup(kind: &str, names: &[&str]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    println!("installing with rustup {kind} add: {}", names.join(" "));
    crate::run(Command::new("rustup").args([kind, "add"]).args(names))
}

fn install_packages(names: &[&str]) -> Result<(), String> {
    let list = names.join(" ");
    if !is_installed("apt-get") {
        return Err(format!(
            "missing: {list} (Debian's names). There is no apt-get here; install what corresponds, then try again"
        ));
    }
    if !is_root() {
        return Err(format!(
            "missing: {list}. Installing them, and network namespaces afterwards, need root: try again as root, or run\n  \
             sudo apt-get install --no-install-recommends {list}"
        ));
    }
    println!("installing with apt-get: {list}");
    crate::run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(names);
    crate::run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Ordinary users do not have /usr/sbin in their path; what is there is installed all the same.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(program).is_file())
}

/// Whether the toolchain that runs us can build for a target.
fn has_target(name: &str) -> bool {
    let printed = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", name])
        .output();
    printed.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout);
        Path::new(folder.trim()).is_dir() && output.status.success()
    })
}

fn is_root() -> bool {
    // The owner of our own entry under /proc is the effective user.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|entry| entry.uid() == 0)
}

fn quietly(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
