//! `palisade-node guard`: enforces the saved view once, and ends. For the boot, before the network: it needs no control
//! plane, resolver, listener or writable disk.

use crate::{
    arguments::{Guard, WithoutView},
    enforce::{Enforcer, interfaces::watch_interfaces, saved::lock_namespace},
    link::servers::Servers,
    run::suitable_kernel,
};
use anyhow::{Context, Result};
use palisade_netfilter::Netfilter;
use palisade_policy::packet::Environment;

/// Enforces it. What was done, for people.
///
/// # Errors
/// The saved view is not enforced: a daemon is at work already, the kernel cannot be used, or it refuses.
pub async fn guard(arguments: &Guard) -> Result<String> {
    let _alone = lock_namespace().context("another daemon is at work")?;
    suitable_kernel()?;
    let control_plane = arguments.server.as_ref().map(|server| {
        let enrollment = arguments.enroll_server.as_ref();
        let servers = Servers::open(&arguments.state_dir, server, enrollment);
        servers.sockets().borrow().clone()
    });
    let environment = Environment {
        // Interfaces that are not there yet are in the rules by name all the same.
        interfaces: match watch_interfaces().await {
            Ok(interfaces) => interfaces.borrow().clone(),
            Err(_) => Default::default(),
        },
        control_plane: control_plane.unwrap_or_default(),
    };
    let kernel = Netfilter::open().context("open a netfilter socket")?;
    let mut enforcer = Enforcer::start(&arguments.state_dir, kernel, environment)?;
    if let Some(at) = enforcer.positions().enforced {
        return Ok(format!("revision {} is enforced", at.revision));
    }
    if enforcer.positions().have.is_some() {
        let conditions = enforcer.observed().conditions;
        let why: Vec<_> = conditions.into_iter().map(|told| told.message).collect();
        anyhow::bail!("the saved policy is not enforced: {}", why.join("; "));
    }
    let done = match arguments.without_view {
        WithoutView::Nothing => "nothing was changed",
        WithoutView::Closed => {
            enforcer.close().context("close this host")?;
            "everything is closed but for the default failsafes"
        }
    };
    match enforcer.unreadable() {
        Some(err) => anyhow::bail!("a policy may be saved that cannot be read ({err}): {done}"),
        None => Ok(format!("no policy is saved: {done}")),
    }
}
