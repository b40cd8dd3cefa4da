//! A network namespace of a test's own.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::File,
    io::Write,
    os::fd::AsFd,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// Runs in a namespace that is gone afterwards. False: that is not possible here, and was said.
pub(crate) fn in_namespace(work: impl FnOnce() + Send + 'static) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("pal-node-{}-{number}", std::process::id());
    let ip = |verb: &str| {
        let done = Command::new("ip").args(["netns", verb, &name]).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !ip("add") {
        assert!(
            std::env::var_os("PALISADE_REQUIRE").is_none(),
            "network namespaces are required"
        );
        eprintln!("SKIPPED: no network namespace can be made here (root and iproute2 are needed)");
        return;
    }
    let handle = File::open(format!("/run/netns/{name}")).expect("made");
    let done = std::thread::spawn(move || {
        move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("entered");
        work();
    })
    .join();
    assert!(ip("delete"));
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

/// What `nft` says, in this namespace.
pub(crate) fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("nft");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Has `ip` do all of it, one line after the other.
pub(crate) fn ip(commands: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(commands.as_bytes()).expect("taken");
    drop(input);
    assert!(child.wait().expect("waited").success(), "{commands}");
}
