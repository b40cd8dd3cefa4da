//! Hears of what other processes do to our tables, and goes on hearing: a socket that fails is replaced, and what was
//! missed meanwhile counts as a change by somebody.

use crate::backoff::Backoff;
use palisade_netfilter::{Event, Monitor};
use std::{
    io,
    os::{fd::AsFd, unix},
    time::Instant,
};
use tokio::{io::Interest, net::UnixDatagram};

/// Where notifications come from; readable when there may be one.
pub(super) trait Notifications: AsFd {
    /// The next one; absent: none so far.
    fn next_event(&mut self) -> io::Result<Option<Event>>;
}

impl Notifications for Monitor {
    fn next_event(&mut self) -> io::Result<Option<Event>> {
        Self::next_event(self)
    }
}

/// One who listens, always.
pub(super) struct Listener<N, F> {
    open: F,
    source: Option<Source<N>>,
    patience: Backoff,
    /// When to open another source, while there is none.
    retry: Instant,
}

struct Source<N> {
    notifications: N,
    /// A duplicate of its descriptor, only waited for. Tokio takes netlink sockets by an unsafe door alone; to wait, one
    /// socket for datagrams is as good as another.
    readiness: UnixDatagram,
}

impl<N: Notifications> Source<N> {
    fn new(notifications: N) -> io::Result<Self> {
        let duplicate = notifications.as_fd().try_clone_to_owned()?;
        let socket = unix::net::UnixDatagram::from(duplicate);
        socket.set_nonblocking(true)?;
        Ok(Self {
            notifications,
            readiness: UnixDatagram::from_std(socket)?,
        })
    }
}

impl<N: Notifications, F: FnMut() -> io::Result<N>> Listener<N, F> {
    /// Listens from now on; within a runtime.
    ///
    /// # Errors
    /// The first source cannot be opened.
    pub(super) fn start(mut open: F) -> io::Result<Self> {
        let source = Source::new(open()?)?;
        Ok(Self {
            open,
            source: Some(source),
            patience: Backoff::stream(),
            retry: Instant::now(),
        })
    }

    /// Until [`Self::take`] may have something to tell. May be dropped at any time.
    pub(super) async fn wait(&self) {
        let Some(source) = &self.source else {
            return tokio::time::sleep_until(self.retry.into()).await;
        };
        // Whether it is readable or has failed, the next read tells.
        let _ = source.readiness.readable().await;
        // Taken as read, before it is read: what comes after wakes again.
        let _: io::Result<()> = source
            .readiness
            .try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    }

    /// Takes all that was said. Who changed our tables, if somebody may have.
    pub(super) fn take(&mut self) -> Option<String> {
        let mut who = None;
        let somebody = || "somebody".to_owned();
        if self.source.is_none() && self.retry <= Instant::now() {
            match (self.open)().and_then(Source::new) {
                Ok(source) => {
                    tracing::info!("notifications of nf_tables are heard again");
                    self.source = Some(source);
                    who = Some(somebody());
                }
                Err(err) => self.fail(&err),
            }
        }
        while let Some(source) = &mut self.source {
            match source.notifications.next_event() {
                Ok(Some(Event::Changed {
                    pid,
                    command,
                    tables,
                    ..
                })) if !tables.is_empty() => {
                    let command = command.unwrap_or_else(|| "a process".to_owned());
                    who = Some(match pid {
                        Some(pid) => format!("{command} (pid {pid})"),
                        None => command,
                    });
                }
                // About others' tables.
                Ok(Some(Event::Changed { .. })) => {}
                Ok(Some(Event::Overrun)) => {
                    who.get_or_insert_with(somebody);
                }
                Ok(None) => {
                    self.patience.reset();
                    break;
                }
                Err(err) => self.fail(&err),
            }
        }
        who
    }

    fn fail(&mut self, err: &io::Error) {
        let wait = self.patience.next(&mut rand::rng());
        tracing::error!(%err, retry_in = ?wait, "notifications of nf_tables are not heard");
        self.source = None;
        self.retry = Instant::now() + wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::{BTreeSet, VecDeque},
        os::fd::BorrowedFd,
        sync::{Arc, Mutex},
        time::Duration,
    };

    type Answer = io::Result<Option<Event>>;

    /// A source that says what it is told to, and is readable all the time.
    struct Scripted {
        answers: VecDeque<Answer>,
        socket: unix::net::UnixDatagram,
        _peer: unix::net::UnixDatagram,
    }

    impl AsFd for Scripted {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
    }

    impl Notifications for Scripted {
        fn next_event(&mut self) -> Answer {
            self.answers.pop_front().unwrap_or(Ok(None))
        }
    }

    /// The sources that are opened, one after the other; then none can be.
    fn listener(
        scripts: Vec<io::Result<Vec<Answer>>>,
    ) -> Listener<Scripted, impl FnMut() -> io::Result<Scripted>> {
        let scripts = Arc::new(Mutex::new(VecDeque::from(scripts)));
        Listener::start(move || {
            let script = scripts.lock().expect("whole").pop_front();
            let answers = script.unwrap_or_else(|| Err(io::ErrorKind::OutOfMemory.into()))?;
            let (socket, peer) = unix::net::UnixDatagram::pair()?;
            peer.send(b"!")?;
            Ok(Scripted {
                answers: answers.into(),
                socket,
                _peer: peer,
            })
        })
        .expect("the first can be opened")
    }

    fn changed(tables: bool) -> Answer {
        let ours = palisade_ruleset::ir::TableName::Main;
        Ok(Some(Event::Changed {
            generation: 1,
            pid: Some(5),
            command: Some("nft".into()),
            tables: tables.then_some(ours).into_iter().collect::<BTreeSet<_>>(),
        }))
    }

    async fn next<F: FnMut() -> io::Result<Scripted>>(
        listener: &mut Listener<Scripted, F>,
    ) -> Option<String> {
        tokio::time::timeout(Duration::from_secs(60), listener.wait())
            .await
            .expect("woken");
        listener.take()
    }

    #[tokio::test]
    async fn changes_of_our_tables_are_told_and_those_of_others_are_not() {
        let mut listener = listener(vec![Ok(vec![
            changed(false),
            Ok(None),
            changed(true),
            changed(false),
        ])]);
        assert_eq!(next(&mut listener).await, None);
        assert_eq!(listener.take().as_deref(), Some("nft (pid 5)"));
    }

    #[tokio::test]
    async fn lost_notifications_are_a_change_by_somebody() {
        let mut listener = listener(vec![Ok(vec![Ok(Some(Event::Overrun))])]);
        assert_eq!(next(&mut listener).await.as_deref(), Some("somebody"));
    }

    #[tokio::test]
    async fn a_source_that_fails_is_replaced_and_what_was_missed_is_a_change() {
        let mut listener = listener(vec![
            Ok(vec![changed(true), Err(io::ErrorKind::NotConnected.into())]),
            Err(io::ErrorKind::OutOfMemory.into()),
            Ok(vec![]),
        ]);
        // What was heard before is not lost.
        assert_eq!(next(&mut listener).await.as_deref(), Some("nft (pid 5)"));
        // One attempt in vain, then the next source.
        assert_eq!(next(&mut listener).await, None);
        assert_eq!(next(&mut listener).await.as_deref(), Some("somebody"));
        assert_eq!(listener.take(), None);
    }
}
