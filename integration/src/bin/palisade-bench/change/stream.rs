//! A one-way stream of datagrams, never answered, so that connection tracking calls each of them new and each is judged.

use std::net::{Ipv4Addr, UdpSocket};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use palisade_integration::netns::Namespace;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

/// 10,000 a second.
const APART: Duration = Duration::from_micros(100);
/// After so long, a datagram that has not arrived was dropped.
const ON_THE_WAY: Duration = Duration::from_millis(10);
/// So many datagrams in a row that fare alike are a settled verdict.
const ALIKE: usize = 200;
/// How far a sender that was held up catches up at once.
const BEHIND: u32 = 20;

/// Datagrams from a client to a host.
pub(super) struct Stream {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How datagrams fared, from the one numbered `first` on.
#[derive(Default)]
struct Record {
    first: u64,
    sent: Vec<Instant>,
    arrived: Vec<bool>,
}

/// When a change took hold; times since the write began.
pub(super) struct Observed {
    /// The write returned.
    pub(super) written: Duration,
    /// The first datagram that the new rule judged was sent.
    pub(super) first: Duration,
    /// The last datagram that the old rule judged was sent.
    pub(super) last: Duration,
}

impl Stream {
    /// Begins to send.
    pub(super) fn start(
        (client, from): (&Namespace, Ipv4Addr),
        (host, to): (&Namespace, Ipv4Addr),
        port: u16,
    ) -> Result<Self> {
        let sending = client.run(|| -> Result<UdpSocket> {
            let socket = UdpSocket::bind((from, 0))?;
            socket.connect((to, port))?;
            Ok(socket)
        })?;
        let receiving = host.run(|| UdpSocket::bind((to, port)))?;
        receiving.set_read_timeout(Some(Duration::from_millis(50)))?;
        set_socket_recv_buffer_size_force(&receiving, 8 << 20).context("a large buffer")?;
        let record = Arc::new(Mutex::new(Record::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let sender = (Arc::clone(&record), Arc::clone(&stop));
        let receiver = (Arc::clone(&record), Arc::clone(&stop));
        Ok(Self {
            record,
            stop,
            threads: vec![
                std::thread::spawn(move || send(&sending, &sender.0, &sender.1)),
                std::thread::spawn(move || receive(&receiving, &receiver.0, &receiver.1)),
            ],
        })
    }

    /// Writes, and sees when datagrams begin to pass, or cease to.
    pub(super) fn observe(
        &self,
        pass: bool,
        patience: Duration,
        write: impl FnOnce() -> Result<()>,
    ) -> Result<Observed> {
        lock(&self.record).restart();
        let began = Instant::now();
        write()?;
        let written = began.elapsed();
        while !lock(&self.record).is_settled(pass) {
            if began.elapsed() > patience {
                bail!(
                    "datagrams do not {} within {patience:?}",
                    if pass { "pass" } else { "cease" }
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let record = lock(&self.record);
        let since = |wanted: bool| {
            let fared = record.sent.iter().zip(&record.arrived);
            fared
                .filter(move |(sent, arrived)| **sent >= began && **arrived == wanted)
                .map(|(sent, _)| sent.duration_since(began))
        };
        let first = since(pass).min().context("a datagram was judged")?;
        let old = record.settled_part(!pass).filter(|sent| *sent >= began);
        let last = old.max().map_or(first, |sent| sent.duration_since(began));
        Ok(Observed {
            written,
            first,
            last,
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Record {
    fn restart(&mut self) {
        self.first += u64::try_from(self.sent.len()).unwrap_or(0);
        self.sent.clear();
        self.arrived.clear();
    }

    fn is_settled(&self, pass: bool) -> bool {
        let late = Instant::now() - ON_THE_WAY;
        let fared = self.sent.iter().zip(&self.arrived).rev();
        let mut judged = fared.filter(|(sent, _)| **sent < late).take(ALIKE);
        let mut alike = 0;
        judged.all(|(_, arrived)| {
            alike += 1;
            *arrived == pass
        }) && alike == ALIKE
    }

    /// When those that fared so were sent, without those that may still be on the way.
    fn settled_part(&self, arrived: bool) -> impl Iterator<Item = Instant> {
        let late = Instant::now() - ON_THE_WAY;
        let fared = self.sent.iter().zip(&self.arrived);
        fared
            .filter(move |(sent, fared)| **sent < late && **fared == arrived)
            .map(|(sent, _)| *sent)
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(socket: &UdpSocket, record: &Mutex<Record>, stop: &AtomicBool) {
    // Without it the kernel wakes us 50 µs late.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if let Some(early) = due.checked_duration_since(now) {
            std::thread::sleep(early);
        } else if now - due > APART * BEHIND {
            due = now;
        }
        due += APART;
        let number = {
            let mut record = lock(record);
            let number = record.first + u64::try_from(record.sent.len()).unwrap_or(0);
            record.sent.push(Instant::now());
            record.arrived.push(false);
            number
        };
        // A full queue is a datagram that did not arrive; there is none on veth.
        let _ = socket.send(&number.to_ne_bytes());
    }
}

fn receive(socket: &UdpSocket, record: &Mutex<Record>, stop: &AtomicBool) {
    let mut bytes = [0; 8];
    while !stop.load(Ordering::Relaxed) {
        if socket.recv(&mut bytes).is_err() {
            continue;
        }
        let number = u64::from_ne_bytes(bytes);
        let mut record = lock(record);
        let at = number.checked_sub(record.first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(arrived) = at.and_then(|at| record.arrived.get_mut(at)) {
            *arrived = true;
        }
    }
}
