//! What the authority signs, for whom, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use palisade_identity::{
    Authority, AuthorityError, CA_CERTIFICATE_FILE, CA_KEY_FILE, Credentials, Identity, KeyError,
    NODE_LIFETIME, Name, Peer, PeerError, Pin, PrivateKey, Role, certificates, write_secret,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("in range")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn authority() -> (Authority, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (Authority::create(dir.path(), now()).expect("made"), dir)
}

fn peer(chain: &str) -> Result<Peer, PeerError> {
    Peer::from_der(&certificates(chain).expect("a chain")[0])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn the_keys_file_is_for_its_owner_only_and_refused_otherwise() {
    let (authority, dir) = authority();
    let key = dir.path().join(CA_KEY_FILE);
    assert_eq!(mode(&key), 0o600);
    assert_eq!(mode(&dir.path().join(CA_CERTIFICATE_FILE)), 0o644);
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 2);
    let again = Authority::load(dir.path()).expect("loads");
    assert_eq!(
        (again.pin(), again.bundle()),
        (authority.pin(), authority.bundle())
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("set");
    let refused = Authority::load(dir.path()).err();
    assert!(matches!(
        refused,
        Some(AuthorityError::Key(KeyError::TooOpen { mode: 0o640, .. }))
    ));
}

#[test]
fn a_secret_written_over_a_readable_file_is_not_readable() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("secret");
    fs::write(&path, "open").expect("written");
    write_secret(&path, b"secret").expect("written");
    assert_eq!(
        (mode(&path), fs::read(&path).expect("there")),
        (0o600, b"secret".to_vec())
    );
}

#[test]
fn an_authority_is_never_overwritten_but_a_half_made_one_is_made_again() {
    let (authority, dir) = authority();
    let refused = Authority::create(dir.path(), now()).err();
    assert!(matches!(refused, Some(AuthorityError::Exists { .. })));
    let opened = Authority::open(dir.path(), now()).expect("opens");
    assert_eq!(opened.pin(), authority.pin());
    fs::remove_file(dir.path().join(CA_CERTIFICATE_FILE)).expect("removed");
    let fresh = Authority::open(dir.path(), now()).expect("made again");
    assert_ne!(fresh.pin(), authority.pin());
}

#[test]
fn a_certificate_beside_another_key_is_refused() {
    let (_authority, dir) = authority();
    let key = PrivateKey::generate().expect("made");
    key.save(&dir.path().join(CA_KEY_FILE)).expect("saved");
    let refused = Authority::load(dir.path()).err();
    assert!(matches!(refused, Some(AuthorityError::Mismatch { .. })));
    fs::remove_file(dir.path().join(CA_KEY_FILE)).expect("removed");
    let refused = Authority::load(dir.path()).err();
    assert!(matches!(
        refused,
        Some(AuthorityError::Key(KeyError::Io { .. }))
    ));
}

#[test]
fn a_nodes_certificate_names_the_node_for_seven_days() {
    let (authority, _dir) = authority();
    let key = PrivateKey::generate().expect("made");
    let request = key.request().expect("made");
    let chain = authority
        .issue_node(&name("web-1"), &request, now())
        .expect("signed");
    assert_eq!(certificates(&chain).expect("a chain").len(), 2);
    let peer = peer(&chain).expect("a peer");
    assert_eq!(peer.identity, Identity::Node(name("web-1")));
    assert!(peer.not_before < now());
    assert_eq!(peer.not_after, now() + NODE_LIFETIME);
    let again = authority
        .issue_node(&name("web-1"), &request, now())
        .expect("signed");
    let again = Peer::from_der(&certificates(&again).expect("a chain")[0]).expect("a peer");
    assert_ne!(again.serial, peer.serial);
}

#[test]
fn a_users_certificate_carries_the_role() {
    let (authority, _dir) = authority();
    let key = PrivateKey::generate().expect("made");
    for role in Role::ALL {
        let name = name("alice");
        let identity = Identity::User { name, role };
        let request = key.request().expect("made");
        let lifetime = SignedDuration::from_hours(1);
        let chain = authority.issue_client(&identity, &request, lifetime, now());
        assert_eq!(
            peer(&chain.expect("signed")).expect("a peer").identity,
            identity
        );
    }
}

#[test]
fn what_a_request_asks_for_is_never_granted() {
    let (authority, _dir) = authority();
    let key = rcgen::KeyPair::generate().expect("made");
    let mut asked = CertificateParams::new(vec!["palisade".to_owned()]).expect("valid");
    asked.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    asked.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let uri = "spiffe://palisade/user/admin/mallory"
        .try_into()
        .expect("ascii");
    asked.subject_alt_names.push(SanType::URI(uri));
    let request = asked.serialize_request(&key).expect("made");
    let chain = authority.issue_node(&name("web-1"), request.der(), now());
    let peer = peer(&chain.expect("signed")).expect("a peer, not an authority");
    assert_eq!(peer.identity, Identity::Node(name("web-1")));
}

#[test]
fn a_request_not_signed_by_its_key_is_refused() {
    let (authority, _dir) = authority();
    let key = PrivateKey::generate().expect("made");
    let request = key.request().expect("made");
    let refused = |request: &[u8]| match authority.issue_node(&name("a"), request, now()) {
        Err(AuthorityError::Key(error)) => error,
        other => panic!("{other:?}"),
    };
    // The last byte belongs to the signature; those of the key stand before it.
    let mut forged = request.clone();
    *forged.last_mut().expect("not empty") ^= 1;
    assert!(matches!(refused(&forged), KeyError::WrongSignature));
    let mut padded = request.clone();
    padded.push(0);
    assert!(matches!(refused(&padded), KeyError::MalformedRequest));
    assert!(matches!(refused(b""), KeyError::MalformedRequest));
    assert!(matches!(
        refused(&vec![0x30; 1 << 20]),
        KeyError::MalformedRequest
    ));
    // Whatever else is changed, on the way to a signature or after it, no other key is ever signed.
    for at in 0..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 0x55;
        if let Ok(chain) = authority.issue_node(&name("a"), &changed, now()) {
            let signed = Pin::of(&certificates(&chain).expect("a chain")[0]);
            assert_eq!(signed, Ok(Pin::of_key(&key.public_der())), "byte {at}");
        }
    }
}

#[test]
fn a_request_with_another_kind_of_key_is_refused() {
    let (authority, _dir) = authority();
    for kind in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = rcgen::KeyPair::generate_for(kind).expect("made");
        let request = CertificateParams::default()
            .serialize_request(&key)
            .expect("made");
        let refused = authority.issue_node(&name("a"), request.der(), now());
        assert!(matches!(
            refused,
            Err(AuthorityError::Key(KeyError::UnsupportedKey))
        ));
    }
}

#[test]
fn certificates_of_servers_and_authorities_name_no_peer() {
    let (authority, _dir) = authority();
    let server = authority.issue_server(&[], now()).expect("issued");
    assert_eq!(
        Peer::from_der(&server.chain()[0]),
        Err(PeerError::NotForClients)
    );
    assert_eq!(peer(authority.bundle()), Err(PeerError::Authority));
    assert_eq!(Peer::from_der(b"no certificate"), Err(PeerError::Malformed));
}

#[test]
fn a_certificate_with_another_or_a_second_name_is_no_peer() {
    let uri = |text: &str| SanType::URI(text.try_into().expect("ascii"));
    let dns = SanType::DnsName("web-1".try_into().expect("ascii"));
    let node = || uri("spiffe://palisade/node/web-1");
    let read = |names: Vec<SanType>| {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names;
        let key = rcgen::KeyPair::generate().expect("made");
        Peer::from_der(params.self_signed(&key).expect("signed").der())
    };
    assert!(read(vec![node()]).is_ok());
    assert_eq!(read(vec![]), Err(PeerError::NotOneUri));
    assert_eq!(read(vec![node(), dns.clone()]), Err(PeerError::NotOneUri));
    assert_eq!(read(vec![dns]), Err(PeerError::NotOneUri));
    let two = vec![node(), uri("spiffe://palisade/user/admin/eve")];
    assert_eq!(read(two), Err(PeerError::NotOneUri));
    let foreign = read(vec![uri("spiffe://other/node/web-1")]);
    assert!(matches!(foreign, Err(PeerError::Name(_))));
}

#[test]
fn a_server_is_certified_for_names_and_addresses_and_nothing_else() {
    let (authority, _dir) = authority();
    let addresses = ["cp.example", "192.0.2.7", "2001:db8::7", "localhost"].map(str::to_owned);
    let server = authority.issue_server(&addresses, now()).expect("issued");
    assert_eq!(server.chain().len(), 2, "the authority is sent along");
    for wrong in ["", "cp.example:7600", "spiffe://palisade", "a b", "[::1]"] {
        let refused = authority.issue_server(&[wrong.to_owned()], now());
        assert!(
            matches!(refused, Err(AuthorityError::ServerName { .. })),
            "{wrong}"
        );
    }
}

#[test]
fn credentials_need_a_certificate_and_a_key() {
    let (authority, _dir) = authority();
    let key = PrivateKey::generate().expect("made");
    assert!(Credentials::new(authority.bundle(), &key).is_ok());
    assert!(Credentials::from_pem("", &key.pem()).is_err());
    assert!(Credentials::from_pem(authority.bundle(), "").is_err());
}
