//! One protected host and a client, with plugins uploaded; questions to name servers, by which matchers are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use palisade_integration::guests;
use palisade_integration::pair::Pair;
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::traffic::datagram::{Port, query};

/// Longer than anything takes that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a datagram takes here. One that is late is sent again.
const SILENCE: Duration = Duration::from_millis(300);

/// Both families.
pub(crate) const FAMILIES: [bool; 2] = [false, true];

/// The pair, with these packages uploaded as plugins of the same name; `None` where it cannot be had here.
pub(crate) fn pair(test: &str, matchers: &[&str]) -> Option<Pair> {
    let needs = [
        Prerequisite::Netns,
        Prerequisite::Ipv6,
        Prerequisite::Binaries,
    ];
    if !have(test, &needs) {
        return None;
    }
    let pair = Pair::start().expect("a deployment");
    for package in matchers {
        push(&pair, package, package);
    }
    Some(pair)
}

/// Uploads a package as the plugin of that name.
pub(crate) fn push(pair: &Pair, package: &str, name: &str) {
    let file = guests::build(package).expect("a component");
    let file = file.to_str().expect("a path");
    let palisadectl = pair.deployment.palisadectl();
    palisadectl
        .run(&["plugin", "push", file, "--name", name], "")
        .and_then(|output| output.success())
        .expect("an upload");
}

/// Waits until something holds.
///
/// # Panics
///
/// With the logs, where it does not hold in time.
pub(crate) fn until(pair: &Pair, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "not {what} in time\n{}",
            pair.deployment.logs()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One question, asked in both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    /// Source port; 0 is any.
    pub(crate) from: u16,
    /// The name asked for.
    pub(crate) name: &'static str,
}

/// Those who ask at one station, and a name server at the other, which hears and never answers.
pub(crate) struct Line {
    server: Port,
    clients: BTreeMap<Asked, Port>,
}

impl Line {
    /// From the client to the host.
    pub(crate) fn inwards(pair: &Pair, asked: &[Asked]) -> Self {
        Self::open(pair, ["client", "host0"], asked)
    }

    /// From the host to the client.
    pub(crate) fn outwards(pair: &Pair, asked: &[Asked]) -> Self {
        Self::open(pair, ["host0", "client"], asked)
    }

    fn open(pair: &Pair, [from, to]: [&str; 2], asked: &[Asked]) -> Self {
        let station = |name| pair.sandbox.station(name).expect("a station");
        let client = |asked: &Asked| {
            let port = Port::open(station(from), asked.from).expect("a port");
            (*asked, port)
        };
        Self {
            server: Port::open(station(to), 53).expect("a name server"),
            clients: asked.iter().map(client).collect(),
        }
    }

    /// Asks everything once, side by side; which of it got through, in which families.
    pub(crate) fn ask(&self) -> BTreeSet<(Asked, bool)> {
        let mut sent = BTreeMap::new();
        for (asked, client) in &self.clients {
            for ipv6 in FAMILIES {
                let bytes = query(asked.name);
                client
                    .send(&self.server, ipv6, &bytes)
                    .expect("a socket that sends");
                sent.insert(bytes, (*asked, ipv6));
            }
        }
        let wanted = sent.keys().cloned().collect();
        let heard = self
            .server
            .hear(&wanted, SILENCE)
            .expect("a socket that hears");
        let through = heard.iter().filter_map(|bytes| sent.get(bytes).copied());
        through.collect()
    }

    /// Asks until exactly these get through, in both families, twice in a row; how long that took.
    ///
    /// # Panics
    ///
    /// With the logs, where it does not come to that in time.
    pub(crate) fn settles(
        &self,
        pair: &Pair,
        what: &str,
        passing: &[Asked],
        within: Duration,
    ) -> Duration {
        let both = |asked: &Asked| FAMILIES.map(|ipv6| (*asked, ipv6));
        let expected: BTreeSet<_> = passing.iter().flat_map(both).collect();
        let began = Instant::now();
        let mut right = None;
        loop {
            let asked_at = began.elapsed();
            let got = self.ask();
            match right {
                _ if got != expected => right = None,
                None => right = Some(asked_at),
                Some(took) => return took,
            }
            assert!(
                right.unwrap_or(asked_at) < within,
                "{what}: not as it should be within {within:?}\ngot through: {got:?}\nshould have: {expected:?}\n{}\n{}",
                ruleset(pair),
                pair.deployment.logs()
            );
        }
    }
}

/// The host's rules, as `nft` prints them.
pub(crate) fn ruleset(pair: &Pair) -> String {
    let host = pair.sandbox.station("host0").expect("host0").namespace();
    let output = host.output(
        std::process::Command::new("nft").args(["list", "ruleset"]),
        "",
    );
    String::from_utf8_lossy(&output.expect("nft").stdout).into_owned()
}
