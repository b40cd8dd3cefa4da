//! Law j at the node: whatever fails, in any order, once it ends the kernel is as desired and said to be so; and at no time
//! is a view said to be enforced that the kernel does not hold.

use crate::{
    model::{Faults, Model},
    view::{machine, position, transaction, view},
};
use palisade_node::enforce::{Enforcer, NotEnforced, transaction::code};
use palisade_policy::{
    packet::Environment,
    view::{Position, View},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Sequences that run; `PALISADE_SEEDS` asks for more.
fn seeds() -> u64 {
    let asked = std::env::var("PALISADE_SEEDS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(300)
}

const STEPS: usize = 24;

/// A node, and what is known of it from outside.
struct World {
    rng: StdRng,
    kernel: Model,
    dir: tempfile::TempDir,
    enforcer: Enforcer<Model>,
    environment: Environment,
    /// What was acknowledged last.
    acknowledged: Option<(View, u64)>,
    /// What waits.
    waiting: Option<(View, u64)>,
    revision: u64,
    /// Somebody changed our tables, and the node was not told yet.
    unheard: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let (dir, kernel) = (tempfile::tempdir().expect("a directory"), Model::default());
        let enforcer = kernel.start(dir.path());
        Self {
            rng: StdRng::seed_from_u64(seed),
            kernel,
            dir,
            enforcer,
            environment: machine(),
            acknowledged: None,
            waiting: None,
            revision: 0,
            unheard: false,
        }
    }

    fn step(&mut self) {
        let percent = *[0, 0, 10, 40]
            .get(self.rng.random_range(0..4))
            .expect("one of them");
        self.kernel.fail(Faults::some(percent, self.rng.random()));
        match self.rng.random_range(0..10) {
            0..4 => self.change(),
            4 => self.move_machine(),
            5 => self.foreign_change(),
            6 => self.hear(),
            7 => self.restart(),
            8 => self.give_up(),
            _ => self.enforcer.settle(),
        }
        self.take_decision();
        self.look();
    }

    fn any_view(&mut self) -> View {
        const PORTS: [&[u16]; 5] = [&[], &[80], &[80, 443], &[22, 443], &[22, 80, 8080]];
        const MEMBERS: [&[&str]; 4] = [
            &["10.0.0.2/32"],
            &["10.0.0.2/32", "10.0.0.3/32"],
            &["10.1.0.0/16", "10.0.0.3/32"],
            &["10.0.0.2/32", "fd00::3/128"],
        ];
        let ports = PORTS[self.rng.random_range(0..PORTS.len())];
        view(ports, MEMBERS[self.rng.random_range(0..MEMBERS.len())])
    }

    fn change(&mut self) {
        if self.waiting.is_some() {
            // The control plane has one unanswered transaction at a time.
            return;
        }
        self.revision += 1;
        let (to, revision) = (self.any_view(), self.revision);
        let from = self.acknowledged.as_ref().map(|(view, _)| view);
        let kind = from.filter(|_| self.rng.random_bool(0.8));
        match self.enforcer.transact(transaction(kind, &to, revision)) {
            Ok(()) => self.acknowledged = Some((to, revision)),
            Err(NotEnforced::Waiting) => self.waiting = Some((to, revision)),
            Err(NotEnforced::Refused(rejection)) => panic!("{rejection:?}"),
        }
    }

    fn take_decision(&mut self) {
        match self.enforcer.decided() {
            None => {}
            Some(Ok(())) => self.acknowledged = Some(self.waiting.take().expect("it waited")),
            Some(Err(rejection)) => panic!("a fault of the machine is the view's: {rejection:?}"),
        }
    }

    fn give_up(&mut self) {
        let waits = self.waiting.take().is_some();
        match self.enforcer.give_up() {
            Some(rejection) => {
                assert!(waits);
                assert_eq!(rejection.code, code::UNAVAILABLE);
                assert_eq!(rejection.items, []);
            }
            None => assert!(!waits),
        }
    }

    fn move_machine(&mut self) {
        self.environment = machine();
        if self.rng.random_bool(0.5) {
            let server = "10.0.0.8:7600".parse().expect("an address");
            self.environment.control_plane = vec![server];
        }
        self.enforcer.set_environment(self.environment.clone());
    }

    fn foreign_change(&mut self) {
        let damage = self.rng.random();
        self.unheard |= self.kernel.damage(damage);
        if self.rng.random_bool(0.7) {
            self.hear();
        }
    }

    fn hear(&mut self) {
        self.enforcer.repair("somebody");
        self.unheard = false;
    }

    /// The daemon is killed and starts again; now and then the machine does.
    fn restart(&mut self) {
        if self.rng.random_bool(0.3) {
            self.kernel.reboot();
        }
        // What waited is unknown to the next daemon, unless the kernel names it.
        let waited = self.waiting.take();
        self.enforcer = Enforcer::start(
            self.dir.path(),
            self.kernel.clone(),
            self.environment.clone(),
        )
        .expect("started");
        self.unheard = false;
        let have = self.enforcer.positions().have;
        let at = |known: &Option<(View, u64)>| known.as_ref().map(|(v, r)| position(v, *r));
        if have != at(&self.acknowledged) {
            assert_eq!(have, at(&waited), "neither acknowledged nor begun");
            self.acknowledged = waited;
        }
    }

    /// What is said is so.
    fn look(&self) {
        let Some(said) = self.enforcer.positions().enforced else {
            return;
        };
        if self.unheard {
            return;
        }
        let known = [&self.acknowledged, &self.waiting];
        let view = known.into_iter().flatten().find(|(view, revision)| {
            let at: Position = position(view, *revision);
            at == said
        });
        let (view, _) = view.expect("a view that is known is enforced");
        assert!(
            self.kernel.holds(view, &self.environment),
            "revision {} is said to be enforced, and is not",
            said.revision
        );
    }

    /// All faults end; what was lost is heard.
    fn calm_down(&mut self) {
        self.kernel.fail(Faults::none());
        self.hear();
        self.take_decision();
        self.enforcer.settle();
        self.take_decision();
        assert!(self.waiting.is_none(), "it still waits");
        assert!(!self.enforcer.is_troubled());
        let positions = self.enforcer.positions();
        assert_eq!(positions.enforced, positions.have);
        let at = self.acknowledged.as_ref().map(|(v, r)| position(v, *r));
        assert_eq!(positions.have, at);
        if let Some((view, _)) = &self.acknowledged {
            assert!(self.kernel.holds(view, &self.environment));
        }
    }
}

#[test]
fn any_sequence_of_changes_and_faults_ends_enforced_and_is_never_told_otherwise() {
    for seed in 0..seeds() {
        let sequence = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step();
            }
            world.calm_down();
        });
        if let Err(panic) = std::panic::catch_unwind(sequence) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
