//! The first start, and what every start needs: authority, server certificate, the administrator's context.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use palisade_identity::{Authority, Credentials, Identity, PrivateKey, Role, write_secret};
use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
};

/// The context of the administrator, in the data folder.
pub const ADMIN_CONTEXT: &str = "admin.yaml";
/// Life of the administrator's certificate: a year.
const ADMIN_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Names and addresses that the server's certificate is good for.
pub fn server_names(advertise: &[String], listen: &[SocketAddr]) -> Vec<String> {
    let mut names: Vec<String> = advertise.to_vec();
    let bound = listen
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified());
    let mut addresses: Vec<IpAddr> = bound.collect();
    for ip in listen
        .iter()
        .map(SocketAddr::ip)
        .filter(IpAddr::is_unspecified)
    {
        addresses.extend(outward_address(ip));
    }
    for address in addresses {
        let text = address.to_string();
        if !names.contains(&text) {
            names.push(text);
        }
    }
    names
}

/// The address that this machine shows to the world; nothing is sent.
fn outward_address(unspecified: IpAddr) -> Option<IpAddr> {
    let elsewhere = match unspecified {
        IpAddr::V4(_) => "192.0.2.1:9",
        IpAddr::V6(_) => "[2001:db8::1]:9",
    };
    let socket = UdpSocket::bind(SocketAddr::new(unspecified, 0)).ok()?;
    socket.connect(elsewhere).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// A certificate for this start of the server.
///
/// # Errors
/// The authority's.
pub fn server_credentials(authority: &Authority, names: &[String]) -> anyhow::Result<Credentials> {
    authority
        .issue_server(names, Timestamp::now())
        .context("cannot issue the server's certificate")
}

/// Writes the administrator's context, if there is none.
///
/// # Errors
/// The authority's, and those of writing.
pub fn write_admin_context(dir: &Path, authority: &Authority, server: &str) -> anyhow::Result<()> {
    let path = dir.join(ADMIN_CONTEXT);
    if path.exists() {
        return Ok(());
    }
    let key = PrivateKey::generate()?;
    let identity = Identity::User {
        name: "admin".parse()?,
        role: Role::Admin,
    };
    let certificate =
        authority.issue_client(&identity, &key.request()?, ADMIN_LIFETIME, Timestamp::now())?;
    let text = context(server, authority.bundle(), &certificate, &key.pem());
    write_secret(&path, text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// A `palisadectl` context.
fn context(server: &str, ca: &str, certificate: &str, key: &str) -> String {
    let mut text = format!("server: {server}\n");
    for (field, pem) in [("ca", ca), ("certificate", certificate), ("key", key)] {
        text.push_str(field);
        text.push_str(": |\n");
        for line in pem.lines() {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Where the administrator's context finds the server: the first advertised name, else a listening address.
pub fn server_address(advertise: &[String], listen: SocketAddr) -> String {
    let host = match advertise.first() {
        Some(name) => name.clone(),
        None if listen.ip().is_unspecified() => "127.0.0.1".to_owned(),
        None => listen.ip().to_string(),
    };
    let port = listen.port();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}
