//! One daemon per state directory and per network namespace.

use crate::namespace::in_namespace;
use palisade_node::enforce::saved::{Store, lock_namespace};
use rustix::thread::{Uid, set_thread_uid};
use std::{
    convert::Infallible,
    io,
    os::linux::net::SocketAddrExt,
    os::unix::net,
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

#[test]
fn one_daemon_per_network_namespace_and_a_busy_queue_tells_as_well() {
    in_namespace(|| {
        let lock = lock_namespace().expect("ours");
        for _ in 0..300 {
            let err = lock_namespace().expect_err("in use");
            assert_eq!(err.kind(), io::ErrorKind::ResourceBusy);
            assert!(err.to_string().contains(&std::process::id().to_string()));
        }
        // Another namespace has a lock of its own.
        in_namespace(|| drop(lock_namespace().expect("free")));
        drop(lock);
        eventually(lock_namespace);
    });
}

#[test]
fn a_directory_is_free_at_once_although_a_child_may_have_its_descriptors() {
    // Between fork and exec a child of any thread has them all.
    let (done, end) = mpsc::channel::<()>();
    let children = std::thread::spawn(move || {
        while end.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let status = Command::new("true").status().expect("run");
            assert!(status.success());
        }
    });
    let dir = tempfile::tempdir().expect("tempdir");
    for _ in 0..2000 {
        let opened = Store::open(dir.path(), None, |_| Ok::<_, Infallible>(()));
        drop(opened.expect("free"));
    }
    drop(done);
    children.join().expect("ended");
}

#[test]
fn another_user_cannot_keep_the_daemon_from_starting() {
    in_namespace(|| {
        // Bound by root, but nobody listens: whose it is cannot be asked.
        let name = net::SocketAddr::from_abstract_name("palisade-node").expect("short");
        let squatter = net::UnixDatagram::bind_addr(&name).expect("free");
        let lock = lock_namespace().expect("without the name");
        drop((squatter, lock));

        // The same by a user without rights, who listens.
        let (told, bound) = mpsc::channel();
        let (done, end) = mpsc::channel::<()>();
        let squatter = std::thread::spawn(move || {
            set_thread_uid(Uid::from_raw(65534)).expect("root");
            let squatter = eventually(|| net::UnixListener::bind_addr(&name));
            told.send(()).expect("waited for");
            // Until the test is through.
            let _ = end.recv();
            drop(squatter);
        });
        bound.recv().expect("bound");
        lock_namespace().expect("without the name");
        drop(done);
        squatter.join().expect("ended");
    });
}

/// A socket of ours is gone a moment after it was closed: until then a child of another test has it, too.
fn eventually<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(err) if Instant::now() > deadline => panic!("{err}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}
