//! Hears of what other processes do to our tables, and goes on hearing: a socket that fails is replaced, and what was
//! missed meanwhile counts as a change by somebody.

use crate::{backoff::Backoff, readiness::Readiness};
use palisade_netfilter::Event;
use std::{io, os::fd::OwnedFd, time::Instant};

/// Where notifications come from.
pub trait Notifications {
    /// Hears of every change from now on, in place of what was heard before. The descriptor is readable when there may be an
    /// event; it is only waited for.
    ///
    /// # Errors
    /// It cannot listen.
    fn listen(&mut self) -> io::Result<OwnedFd>;

    /// The next event; absent: none so far.
    ///
    /// # Errors
    /// The source failed, or does not listen.
    fn next_event(&mut self) -> io::Result<Option<Event>>;
}

/// What others may have done to our tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Suspicion {
    /// This one changed them.
    Changed(String),
    /// Somebody may have: not everything was heard.
    Missed,
}

impl Suspicion {
    /// Who it was, for people.
    pub(super) fn who(&self) -> &str {
        match self {
            Self::Changed(who) => who,
            Self::Missed => "somebody",
        }
    }
}

/// One who listens, always.
pub(super) struct Listener {
    /// Absent: nothing is heard.
    readiness: Option<Readiness>,
    patience: Backoff,
    /// When to listen again, while nothing is heard.
    retry: Instant,
}

fn listen(source: &mut impl Notifications) -> io::Result<Readiness> {
    Readiness::of(&source.listen()?)
}

impl Listener {
    /// Listens from now on, or as soon as that is possible; within a runtime.
    pub(super) fn start(source: &mut impl Notifications) -> Self {
        let mut listener = Self {
            readiness: None,
            patience: Backoff::stream(),
            retry: Instant::now(),
        };
        match listen(source) {
            Ok(readiness) => listener.readiness = Some(readiness),
            Err(err) => listener.fail(&err),
        }
        listener
    }

    /// Whether changes by others are heard of.
    pub(super) fn hears(&self) -> bool {
        self.readiness.is_some()
    }

    /// Until [`Self::take`] may have something to tell. May be dropped at any time.
    pub(super) async fn wait(&self) {
        let Some(readiness) = &self.readiness else {
            return tokio::time::sleep_until(self.retry.into()).await;
        };
        readiness.wait().await;
    }

    /// Takes all that was said.
    pub(super) fn take(&mut self, source: &mut impl Notifications) -> Option<Suspicion> {
        let mut suspicion = None;
        if self.readiness.is_none() && self.retry <= Instant::now() {
            match listen(source) {
                Ok(readiness) => {
                    tracing::info!("notifications of nf_tables are heard again");
                    self.readiness = Some(readiness);
                    suspicion = Some(Suspicion::Missed);
                }
                Err(err) => self.fail(&err),
            }
        }
        while self.readiness.is_some() {
            match source.next_event() {
                Ok(Some(Event::Changed {
                    pid,
                    command,
                    tables,
                    ..
                })) if !tables.is_empty() => {
                    let command = command.unwrap_or_else(|| "a process".to_owned());
                    suspicion = Some(Suspicion::Changed(match pid {
                        Some(pid) => format!("{command} (pid {pid})"),
                        None => command,
                    }));
                }
                // About others' tables.
                Ok(Some(Event::Changed { .. })) => {}
                Ok(Some(Event::Overrun)) => {
                    suspicion.get_or_insert(Suspicion::Missed);
                }
                Ok(None) => {
                    self.patience.reset();
                    break;
                }
                Err(err) => self.fail(&err),
            }
        }
        suspicion
    }

    fn fail(&mut self, err: &io::Error) {
        let wait = self.patience.next(&mut rand::rng());
        tracing::error!(%err, retry_in = ?wait, "notifications of nf_tables are not heard");
        self.readiness = None;
        self.retry = Instant::now() + wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::{BTreeSet, VecDeque},
        os::unix,
        time::Duration,
    };

    type Answer = io::Result<Option<Event>>;

    /// Says what it is told to, and is readable all the time: what it is opened with, one after the other; then it cannot
    /// be opened.
    struct Scripted {
        scripts: VecDeque<io::Result<Vec<Answer>>>,
        answers: VecDeque<Answer>,
        peer: Option<unix::net::UnixDatagram>,
    }

    impl Notifications for Scripted {
        fn listen(&mut self) -> io::Result<OwnedFd> {
            let script = self.scripts.pop_front();
            let answers = script.unwrap_or_else(|| Err(io::ErrorKind::OutOfMemory.into()))?;
            self.answers = answers.into();
            let (socket, peer) = unix::net::UnixDatagram::pair()?;
            peer.send(b"!")?;
            self.peer = Some(peer);
            Ok(socket.into())
        }

        fn next_event(&mut self) -> Answer {
            self.answers.pop_front().unwrap_or(Ok(None))
        }
    }

    fn start(scripts: Vec<io::Result<Vec<Answer>>>) -> (Scripted, Listener) {
        let mut source = Scripted {
            scripts: scripts.into(),
            answers: VecDeque::new(),
            peer: None,
        };
        let listener = Listener::start(&mut source);
        (source, listener)
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

    fn nft() -> Option<Suspicion> {
        Some(Suspicion::Changed("nft (pid 5)".to_owned()))
    }

    async fn next(listener: &mut Listener, source: &mut Scripted) -> Option<Suspicion> {
        tokio::time::timeout(Duration::from_secs(60), listener.wait())
            .await
            .expect("woken");
        listener.take(source)
    }

    #[tokio::test]
    async fn changes_of_our_tables_are_told_and_those_of_others_are_not() {
        let (mut source, mut listener) = start(vec![Ok(vec![
            changed(false),
            Ok(None),
            changed(true),
            changed(false),
        ])]);
        assert_eq!(next(&mut listener, &mut source).await, None);
        assert_eq!(listener.take(&mut source), nft());
    }

    #[tokio::test]
    async fn lost_notifications_are_a_change_by_somebody() {
        let (mut source, mut listener) = start(vec![Ok(vec![Ok(Some(Event::Overrun))])]);
        let who = next(&mut listener, &mut source).await;
        assert_eq!(who, Some(Suspicion::Missed));
    }

    #[tokio::test]
    async fn a_source_that_fails_is_replaced_and_what_was_missed_is_a_change() {
        let (mut source, mut listener) = start(vec![
            Ok(vec![changed(true), Err(io::ErrorKind::NotConnected.into())]),
            Err(io::ErrorKind::OutOfMemory.into()),
            Ok(vec![]),
        ]);
        // What was heard before is not lost.
        let who = next(&mut listener, &mut source).await;
        assert_eq!(who, nft());
        assert!(!listener.hears());
        // One attempt in vain, then the next source.
        assert_eq!(next(&mut listener, &mut source).await, None);
        let who = next(&mut listener, &mut source).await;
        assert_eq!(who, Some(Suspicion::Missed));
        assert!(listener.hears());
        assert_eq!(listener.take(&mut source), None);
    }

    #[tokio::test]
    async fn one_that_cannot_listen_at_first_does_so_later() {
        let (mut source, mut listener) = start(vec![
            Err(io::ErrorKind::OutOfMemory.into()),
            Ok(vec![changed(true)]),
        ]);
        assert!(!listener.hears());
        let who = next(&mut listener, &mut source).await;
        assert_eq!(who, nft());
    }
}
