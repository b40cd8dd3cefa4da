//! Who is who: the built-in certificate authority, join tokens, and the identity a certificate carries.
//!
//! Both sides of the wire use this crate. The authority and token records belong to the control plane; keys and
//! requests ([`PrivateKey`]), pins ([`Pin`], [`PinnedVerifier`]), tokens as text ([`JoinToken`]), certificates as read
//! ([`Peer`]) and renewal belong to every client. It knows no resource and opens no socket; time comes in as an argument.
#![forbid(unsafe_code)]

mod authority;
mod durable;
mod key;
mod name;
mod peer;
mod pin;
mod renewal;
mod tls;
mod token;

pub use authority::{Authority, AuthorityError, CA_CERTIFICATE_FILE, CA_KEY_FILE, NODE_LIFETIME};
pub use durable::{write_public, write_secret};
pub use key::{KeyError, PrivateKey, RequestedKey};
pub use name::{Identity, Name, NameError, Role};
pub use peer::{Peer, PeerError};
pub use pin::{Pin, PinError, PinnedVerifier};
pub use renewal::renew_at;
pub use tls::{
    ClientCertificates, Credentials, TlsError, certificates, client_config, pinned_client_config,
    server_config,
};
pub use token::{JoinToken, TokenError, TokenRecord};
