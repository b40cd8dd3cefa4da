use super::*;
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};
use tokio::sync::Notify;

/// A machine that is read by script; what the script does not say is as it was.
#[derive(Clone, Default)]
struct Machine {
    said: Arc<Notify>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Read>,
    interfaces: Interfaces,
    notified: bool,
    reads: usize,
    /// Opens that fail before one succeeds.
    closed: usize,
}

/// What a read finds.
#[derive(Clone, Copy, Debug)]
enum Read {
    /// So many interfaces.
    Whole(u8),
    /// The kernel interrupted it.
    Interrupted,
    /// It cannot be parsed.
    Malformed,
    /// The kernel refuses, and so it does when it is asked anew so many times.
    Broken(usize),
}

impl Machine {
    fn of(script: &[Read]) -> Self {
        let machine = Self::default();
        machine.state.lock().expect("whole").script = script.iter().copied().collect();
        machine
    }

    async fn watch(&self) -> watch::Receiver<Interfaces> {
        let machine = self.clone();
        let open = move || {
            let mut state = machine.state.lock().expect("whole");
            match state.closed.checked_sub(1) {
                None => Ok(machine.clone()),
                Some(left) => {
                    state.closed = left;
                    Err(io::ErrorKind::OutOfMemory.into())
                }
            }
        };
        watch_source(open).await.expect("the first read succeeds")
    }

    fn notify(&self) {
        self.state.lock().expect("whole").notified = true;
        self.said.notify_one();
    }

    fn reads(&self) -> usize {
        self.state.lock().expect("whole").reads
    }

    fn left(&self) -> usize {
        self.state.lock().expect("whole").script.len()
    }
}

impl Source for Machine {
    async fn wait(&self) {
        self.said.notified().await;
    }

    fn changed(&mut self) -> io::Result<bool> {
        let mut state = self.state.lock().expect("whole");
        Ok(std::mem::take(&mut state.notified))
    }

    fn read(&mut self) -> Result<Interfaces, ReadError> {
        let mut state = self.state.lock().expect("whole");
        state.reads += 1;
        match state.script.pop_front() {
            None => Ok(state.interfaces.clone()),
            Some(Read::Whole(count)) => {
                state.interfaces = interfaces(count);
                Ok(state.interfaces.clone())
            }
            Some(Read::Interrupted) => Err(ReadError::Changing),
            Some(Read::Malformed) => Err(ReadError::Malformed("links")),
            Some(Read::Broken(closed)) => {
                state.closed = closed;
                Err(io::Error::from_raw_os_error(12).into())
            }
        }
    }
}

fn interfaces(count: u8) -> Interfaces {
    let names = (0..count).map(|number| IfName::new(format!("eth{number}")));
    names.map(|name| (name, Interface::default())).collect()
}

/// On paused time: waiting costs nothing, and every test is the same each time.
fn paused<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(test());
}

fn read() -> impl Strategy<Value = Read> {
    prop_oneof![
        (0..9_u8).prop_map(Read::Whole),
        Just(Read::Interrupted),
        Just(Read::Malformed),
        (0..4_usize).prop_map(Read::Broken),
    ]
}

proptest! {
    #[test]
    fn only_a_whole_read_takes_an_interface_away(reads in proptest::collection::vec(read(), 0..12)) {
        paused(|| async {
            let mut script = vec![Read::Whole(5)];
            script.extend(&reads);
            let machine = Machine::of(&script);
            let receiver = machine.watch().await;
            let mut known = interfaces(5);
            assert_eq!(*receiver.borrow(), known);
            for expected in &reads {
                let left = machine.left();
                if left > 0 {
                    machine.notify();
                }
                while machine.left() == left {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::task::yield_now().await;
                if let Read::Whole(count) = expected {
                    known = interfaces(*count);
                }
                assert_eq!(*receiver.borrow(), known, "after {expected:?}");
            }
        });
    }
}

#[test]
fn a_burst_of_notifications_costs_a_read_in_fifty_milliseconds_and_a_lone_one_is_answered_at_once()
{
    paused(|| async {
        let machine = Machine::of(&[Read::Whole(1)]);
        let mut receiver = machine.watch().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, begun) = (machine.reads(), Instant::now());
        machine.state.lock().expect("whole").interfaces = interfaces(2);
        machine.notify();
        receiver.changed().await.expect("watched");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(machine.reads(), before + 1);
        for _ in 0..1_000 {
            machine.notify();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(EVERY).await;
        let reads = machine.reads() - before - 1;
        assert!((18..=21).contains(&reads), "{reads}");
        // None of them found anything else, so nobody was woken.
        assert!(!receiver.has_changed().expect("watched"));
    });
}

#[test]
fn an_interrupted_first_read_is_repeated() {
    paused(|| async {
        let mut script = vec![Read::Interrupted; FIRST_READS - 1];
        script.push(Read::Whole(3));
        let machine = Machine::of(&script);
        assert_eq!(*machine.watch().await.borrow(), interfaces(3));
    });
}

#[test]
fn nothing_is_read_once_nobody_listens() {
    paused(|| async {
        let machine = Machine::of(&[]);
        drop(machine.watch().await);
        tokio::time::sleep(PATIENCE * 3).await;
        let reads = machine.reads();
        machine.notify();
        tokio::time::sleep(PATIENCE * 3).await;
        assert_eq!(machine.reads(), reads);
    });
}
