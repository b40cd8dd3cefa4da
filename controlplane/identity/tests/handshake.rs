//! Whole TLS handshakes, in memory: who gets in, and who does not.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use palisade_identity::{
    Authority, ClientCertificates, Credentials, Identity, Peer, Pin, PinError, PrivateKey,
    client_config, pinned_client_config, server_config,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, ServerConfig, ServerConnection};

fn authority() -> (Authority, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (
        Authority::create(dir.path(), Timestamp::now()).expect("made"),
        dir,
    )
}

fn server(authority: &Authority, clients: ClientCertificates<'_>) -> ServerConfig {
    let addresses = ["cp.example".to_owned(), "192.0.2.7".to_owned()];
    let credentials = authority.issue_server(&addresses, Timestamp::now());
    server_config(&credentials.expect("issued"), clients).expect("usable")
}

fn node(authority: &Authority, issued: Timestamp) -> Credentials {
    let key = PrivateKey::generate().expect("made");
    let request = key.request().expect("made");
    let name = "web-1".parse().expect("a name");
    let chain = authority
        .issue_node(&name, &request, issued)
        .expect("signed");
    Credentials::new(&chain, &key).expect("usable")
}

/// Lets the two talk until both are done; gives the identity the server saw, if it asked.
fn handshake(
    server: ServerConfig,
    client: ClientConfig,
    name: &str,
) -> Result<Option<Identity>, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    // In TLS 1.3 the client is done before the server has judged its certificate: go on until nobody has more to say.
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory");
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).expect("memory");
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory");
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).expect("memory");
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
    let leaf = server.peer_certificates().and_then(|chain| chain.first());
    Ok(leaf.map(|leaf| Peer::from_der(leaf).expect("a peer").identity))
}

#[test]
fn a_node_with_a_certificate_gets_in_under_its_name() {
    let (authority, _dir) = authority();
    let node = node(&authority, Timestamp::now());
    for name in ["cp.example", "192.0.2.7", "localhost", "127.0.0.1", "::1"] {
        let server = server(&authority, ClientCertificates::Required(authority.bundle()));
        let client = client_config(authority.bundle(), Some(&node)).expect("usable");
        let seen = handshake(server, client, name).expect("gets in");
        assert_eq!(
            seen,
            Some(Identity::Node("web-1".parse().expect("a name"))),
            "{name}"
        );
    }
    let server = server(&authority, ClientCertificates::Required(authority.bundle()));
    let client = client_config(authority.bundle(), Some(&node)).expect("usable");
    assert!(handshake(server, client, "other.example").is_err());
}

#[test]
fn a_client_without_a_good_certificate_is_refused() {
    let (authority, _dir) = authority();
    let (other, _other_dir) = self::authority();
    let past = Timestamp::now() - SignedDuration::from_hours(8 * 24);
    let server_as_client = authority.issue_server(&[], Timestamp::now());
    for credentials in [
        None,
        Some(node(&other, Timestamp::now())),
        Some(node(&authority, past)),
        Some(server_as_client.expect("issued")),
    ] {
        let server = server(&authority, ClientCertificates::Required(authority.bundle()));
        let client = client_config(authority.bundle(), credentials.as_ref()).expect("usable");
        assert!(handshake(server, client, "cp.example").is_err());
    }
}

#[test]
fn a_server_of_another_authority_or_a_node_posing_as_one_is_refused() {
    let (authority, _dir) = authority();
    let (other, _other_dir) = self::authority();
    let client = || client_config(authority.bundle(), None).expect("usable");
    let server_of = |authority| server(authority, ClientCertificates::NotAsked);
    assert!(handshake(server_of(&authority), client(), "cp.example").is_ok());
    assert!(handshake(server_of(&other), client(), "cp.example").is_err());
    let node = node(&authority, Timestamp::now());
    let posing = server_config(&node, ClientCertificates::NotAsked).expect("usable");
    assert!(handshake(posing, client(), "web-1").is_err());
}

#[test]
fn a_pin_admits_its_authority_and_no_forged_one() {
    let (authority, _dir) = authority();
    let (other, _other_dir) = self::authority();
    let client = |pin| pinned_client_config(pin).expect("usable");
    let server_of = |authority| server(authority, ClientCertificates::NotAsked);
    let right = handshake(server_of(&authority), client(authority.pin()), "cp.example");
    assert_eq!(right, Ok(None));
    assert!(handshake(server_of(&other), client(authority.pin()), "cp.example").is_err());
    assert!(handshake(server_of(&authority), client(authority.pin()), "x.example").is_err());
    let pin: Pin = authority.pin().to_string().parse().expect("a pin");
    assert_eq!(pin.check_bundle(authority.bundle()), Ok(()));
    assert_eq!(pin.check_bundle(other.bundle()), Err(PinError::NoMatch));
    assert_eq!(
        pin.check_bundle("nothing"),
        Err(PinError::MalformedCertificate)
    );
}

#[test]
fn the_pinned_authority_sent_along_does_not_cover_for_another_server() {
    let (authority, _dir) = authority();
    let (mallory, _other_dir) = self::authority();
    // Mallory's own leaf and key, with the right authority's (public) certificate behind it.
    let key = PrivateKey::generate().expect("made");
    let request = key.request().expect("made");
    let name = "mallory".parse().expect("a name");
    let leaf = mallory
        .issue_node(&name, &request, Timestamp::now())
        .expect("signed");
    let leaf = leaf.split_inclusive("-----END CERTIFICATE-----\n").next();
    let leaf = leaf.unwrap_or_default().replace('\r', "");
    let chain = format!("{leaf}\n{}", authority.bundle());
    let forged = Credentials::new(&chain, &key).expect("a chain");
    assert_eq!(forged.chain().len(), 2);
    let server = server_config(&forged, ClientCertificates::NotAsked).expect("usable");
    let client = pinned_client_config(authority.pin()).expect("usable");
    assert!(handshake(server, client, "cp.example").is_err());
}
