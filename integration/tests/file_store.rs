//! A service manager that keeps the socket which owns our tables: they have an owner while no daemon runs, and the next
//! daemon goes on with it.
//!
//! The test plays the service manager: it takes the socket by `NOTIFY_SOCKET`, holds it while the daemon is dead, and
//! passes it to the next one as descriptor 3.

use palisade_integration::format::Protocol;
use palisade_integration::pair::{MUST_DROP, MUST_PASS, Pair, allow, host_endpoint};
use palisade_integration::prerequisite::{Prerequisite, have};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketType, recvmsg,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// For a notification to come.
const PATIENCE: Duration = Duration::from_secs(10);
const OPENED: u16 = 8055;

/// One test at a time: a socket that is not closed at exec would go into the other's processes.
static ALONE: Mutex<()> = Mutex::new(());

/// The service manager's side.
struct Keeper {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Keeper {
    fn new(dir: &Path) -> Self {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        Self { socket, path }
    }

    /// Reads notifications until one has this line; with the descriptor that came along.
    fn until(&self, line: &str) -> (String, Option<OwnedFd>) {
        loop {
            let mut bytes = [0; 1024];
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut beside = RecvAncillaryBuffer::new(&mut room);
            let mut into = [IoSliceMut::new(&mut bytes)];
            // Not closed at exec: the next daemon is to have it.
            let received = recvmsg(&self.socket, &mut into, &mut beside, RecvFlags::empty());
            let received = received.unwrap_or_else(|err| panic!("no `{line}`: {err}"));
            let descriptor = beside.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            });
            let text = String::from_utf8_lossy(&bytes[..received.bytes]).into_owned();
            if text.lines().any(|there| there == line) {
                return (text, descriptor);
            }
        }
    }

    /// The daemon's command as the service manager starts it, with the socket if it keeps one.
    fn command(&self, daemon: &Command, kept: Option<&OwnedFd>) -> Command {
        // A shell that takes descriptors of more than one digit.
        let mut command = Command::new("bash");
        let script = match kept {
            Some(kept) => format!(
                "exec 3<&{0} {0}<&-; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=palisade-nftables exec \"$@\"",
                kept.as_raw_fd()
            ),
            None => "exec \"$@\"".to_owned(),
        };
        command.args(["-c", &script, "bash"]);
        command.arg(daemon.get_program()).args(daemon.get_args());
        command.env("NOTIFY_SOCKET", &self.path);
        command
    }
}

/// What `nft` says to a change of our table.
fn change_by_another(pair: &Pair) -> String {
    let refused = pair.host().nft("flush table inet palisade");
    refused.map_or_else(|err| format!("{err:#}"), |_| String::new())
}

#[test]
fn a_killed_daemon_leaves_owned_tables_with_its_service_manager_and_the_next_one_goes_on() {
    if !have("file store", &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut pair = Pair::start().expect("a deployment");
    pair.apply(&(allow("streams", 100, "UDP", &[MUST_PASS]) + &host_endpoint("generation", "0")))
        .expect("the initial policy");
    let owns = |pair: &Pair| pair.deployment.logs().contains("owned=true");
    if !owns(&pair) {
        eprintln!("SKIPPED file store: this kernel has no owned tables");
        return;
    }
    // Without a keeper the tables have no owner once the daemon is dead.
    let kill = |pair: &mut Pair| {
        let node = pair.deployment.node("host0").expect("a daemon");
        node.kill().expect("a kill");
    };
    kill(&mut pair);
    let harmless = pair
        .host()
        .nft("add chain inet palisade foreign; delete chain inet palisade foreign");
    harmless.expect("whoever may change nf_tables may change them");

    let dir = tempfile::tempdir().expect("a folder");
    let keeper = Keeper::new(dir.path());
    pair.deployment
        .start_node_as("host0", |daemon| keeper.command(daemon, None))
        .expect("a start");
    let (told, kept) = keeper.until("FDSTORE=1");
    for line in ["FDNAME=palisade-nftables", "FDPOLL=0"] {
        assert!(told.lines().any(|there| there == line), "{line} in {told}");
    }
    let mut kept = kept.expect("the socket");
    for round in 0..2_u16 {
        kill(&mut pair);
        let said = change_by_another(&pair);
        assert!(said.contains("not permitted"), "round {round}: `{said}`");
        pair.host()
            .nft("flush ruleset inet")
            .expect("of the others");
        pair.expect(Protocol::UDP, MUST_PASS, true);
        pair.expect(Protocol::UDP, MUST_DROP, false);

        pair.deployment
            .start_node_as("host0", |daemon| keeper.command(daemon, Some(&kept)))
            .unwrap_or_else(|err| panic!("{err:#}"));
        let log = pair.deployment.node("host0").expect("a daemon").own_log();
        assert!(log.contains("came from the service manager"), "{log}");
        // It is kept once more, and the old copy may go.
        kept = keeper.until("FDSTORE=1").1.expect("the socket");
        let ports = [OPENED + round, 1];
        pair.apply(&allow("later", 10, "TCP", &ports))
            .expect("the successor changes what it owns");
        pair.expect(Protocol::TCP, OPENED + round, true);
        assert!(change_by_another(&pair).contains("not permitted"));
    }

    // One that shares its tables has the old socket closed, so that others may change them, and repairs.
    kill(&mut pair);
    let sharing = |daemon: &Command| {
        let mut command = keeper.command(daemon, Some(&kept));
        command.arg("--share-tables");
        command
    };
    pair.deployment
        .start_node_as("host0", sharing)
        .unwrap_or_else(|err| panic!("{err:#}"));
    keeper.until("FDSTOREREMOVE=1");
    drop(kept);
    assert_eq!(change_by_another(&pair), "");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.expect(Protocol::UDP, MUST_PASS, true);

    // Who removes the tables gives the socket up.
    let removed = pair.palisade_node(&["uninstall"], Some(&pair.state_dir()));
    let (code, said) = removed.expect("it runs");
    assert_eq!(code, Some(0), "{said}");
    let (told, _) = keeper.until("FDSTOREREMOVE=1");
    assert!(told.contains("FDNAME=palisade-nftables"), "{told}");
    pair.expect(Protocol::UDP, MUST_DROP, true);
}

#[test]
fn a_stored_socket_of_no_use_keeps_no_daemon_from_enforcing() {
    if !have(
        "useless socket",
        &[Prerequisite::Netns, Prerequisite::Binaries],
    ) {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut pair = Pair::start().expect("a deployment");
    pair.apply(&(allow("streams", 100, "UDP", &[MUST_PASS]) + &host_endpoint("generation", "0")))
        .expect("the initial policy");
    let dir = tempfile::tempdir().expect("a folder");
    let keeper = Keeper::new(dir.path());
    let file = std::fs::File::open("/dev/null").expect("there");
    let file = rustix::io::dup(&file).expect("a descriptor");
    // Of this process's network namespace; nothing is sent by it.
    let netfilter = Some(rustix::net::netlink::NETFILTER);
    let open = || rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, netfilter);
    let elsewhere = open().expect("a socket");
    let unbound = pair.host().run(open).expect("a socket");
    for (useless, why) in [
        (file, "not used"),
        (elsewhere, "of another network namespace"),
        (unbound, "never bound"),
    ] {
        let node = pair.deployment.node("host0").expect("a daemon");
        node.kill().expect("a kill");
        pair.deployment
            .start_node_as("host0", |daemon| keeper.command(daemon, Some(&useless)))
            .expect("a start");
        keeper.until("FDSTOREREMOVE=1");
        keeper.until("FDSTORE=1");
        let log = pair.deployment.node("host0").expect("a daemon").own_log();
        assert!(log.contains(why), "{why} in {log}");
    }
    // Descriptors that nobody passed: those that the daemon opens itself are not taken for them.
    pair.deployment
        .node("host0")
        .and_then(|node| node.kill())
        .expect("a kill");
    let lying = |daemon: &Command| {
        let mut command = Command::new("bash");
        let script =
            "LISTEN_PID=$$ LISTEN_FDS=9 LISTEN_FDNAMES=::::::palisade-nftables exec \"$@\"";
        command.args(["-c", script, "bash"]);
        command.arg(daemon.get_program()).args(daemon.get_args());
        command
    };
    pair.deployment
        .start_node_as("host0", lying)
        .unwrap_or_else(|err| panic!("{err:#}"));
    let log = pair.deployment.node("host0").expect("a daemon").own_log();
    assert!(log.contains("cannot be taken"), "{log}");
    pair.expect(Protocol::UDP, MUST_DROP, false);
    pair.apply(&allow("later", 10, "TCP", &[OPENED]))
        .expect("it is enforced");
    pair.expect(Protocol::TCP, OPENED, true);
}
