//! One daemon per network namespace.

use crate::namespace::in_namespace;
use palisade_node::enforce::saved::lock_namespace;
use rustix::thread::{Uid, set_thread_uid};
use std::{io, os::linux::net::SocketAddrExt, os::unix::net, sync::mpsc};

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
        lock_namespace().expect("free");
    });
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
            let squatter = net::UnixListener::bind_addr(&name).expect("free");
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
