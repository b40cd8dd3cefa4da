//! Law j at the node: whatever fails, in any order, once it ends the kernel is as desired and said to be so; and at no time
//! is a view said to be enforced that the kernel does not hold.

use crate::{
    disk::{self, SimulatedDisk},
    model::{Faults, Model},
    view::{machine, position, transaction, view},
};
use palisade_node::enforce::{
    Enforcer, NotEnforced,
    transaction::{Rejection, code},
};
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
    disk: SimulatedDisk,
    /// Absent while there is no process.
    enforcer: Option<Enforcer<Model>>,
    environment: Environment,
    /// What was acknowledged last.
    acknowledged: Option<(View, u64)>,
    /// What was begun after it, the last one last. Any may be found at the next start: a disk that fails may keep what was
    /// to be taken back.
    begun: Vec<(View, u64)>,
    /// That waits.
    waiting: bool,
    revision: u64,
    /// Somebody changed our tables, and the node was not told yet.
    unheard: bool,
    /// What was done, for whoever reads a failure.
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            kernel: Model::default(),
            disk: SimulatedDisk::new(seed),
            enforcer: None,
            environment: machine(),
            acknowledged: None,
            begun: Vec::new(),
            waiting: false,
            revision: 0,
            unheard: false,
            log: Vec::new(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let disk = self.disk.process();
        let enforcer = Enforcer::start_on(disk, self.kernel.clone(), self.environment.clone());
        self.enforcer = Some(enforcer.expect("started"));
    }

    fn node(&mut self) -> &mut Enforcer<Model> {
        self.enforcer.as_mut().expect("a process")
    }

    fn step(&mut self) {
        let percent = [0, 0, 10, 40][self.rng.random_range(0..4)];
        self.kernel.fail(Faults::some(percent, self.rng.random()));
        let faults = [0, 0, 50, 300][self.rng.random_range(0..4)];
        self.disk.set_faults(disk::Faults {
            reads: 0,
            writes: faults,
            ..disk::Faults::default()
        });
        let what = self.rng.random_range(0..10);
        self.log
            .push(format!("{what}: kernel fails {percent} %, disk {faults} ‰"));
        match what {
            0..4 => self.change(),
            4 => self.move_machine(),
            5 => self.foreign_change(),
            6 => self.hear(),
            7 => self.restart(),
            8 => self.give_up(),
            _ => self.node().settle(),
        }
        self.take_decision();
        let said = self.node().positions();
        self.log.push(format!("   {said:?}"));
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
        let members = MEMBERS[self.rng.random_range(0..MEMBERS.len())];
        self.log
            .push(format!("   to ports {ports:?} from {members:?}"));
        view(ports, members)
    }

    fn change(&mut self) {
        if self.waiting {
            // The control plane has one unanswered transaction at a time.
            return;
        }
        self.revision += 1;
        let (to, revision) = (self.any_view(), self.revision);
        let delta = self.rng.random_bool(0.8);
        let from = self.acknowledged.as_ref().map(|(view, _)| view);
        let transaction = transaction(from.filter(|_| delta), &to, revision);
        self.begun.push((to, revision));
        match self.node().transact(transaction) {
            Ok(()) => self.acknowledge(),
            Err(NotEnforced::Waiting) => self.waiting = true,
            Err(NotEnforced::Refused(rejection)) => self.handed_back(&rejection),
        }
    }

    /// A fault of the machine is never the view's.
    fn handed_back(&mut self, rejection: &Rejection) {
        assert_eq!(rejection.code, code::UNAVAILABLE, "{rejection:?}");
        assert_eq!(rejection.items, []);
        self.waiting = false;
    }

    fn acknowledge(&mut self) {
        self.waiting = false;
        self.acknowledged = self.begun.pop();
        self.begun.clear();
    }

    fn take_decision(&mut self) {
        match self.node().decided() {
            None => {}
            Some(Ok(())) => self.acknowledge(),
            Some(Err(rejection)) => self.handed_back(&rejection),
        }
    }

    fn give_up(&mut self) {
        let waits = self.waiting;
        match self.node().give_up() {
            Some(rejection) => {
                assert!(waits);
                self.handed_back(&rejection);
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
        let environment = self.environment.clone();
        self.node().set_environment(environment);
    }

    fn foreign_change(&mut self) {
        let damage = self.rng.random();
        self.unheard |= self.kernel.damage(damage);
        if self.rng.random_bool(0.7) {
            self.hear();
        }
    }

    fn hear(&mut self) {
        if self.rng.random_bool(0.5) {
            self.node().guard();
        }
        self.node().repair("somebody");
        self.unheard = false;
    }

    /// The daemon is killed and starts again; now and then the machine does.
    fn restart(&mut self) {
        self.enforcer = None;
        if self.rng.random_bool(0.3) {
            self.kernel.reboot();
            self.disk.cut_power();
        } else {
            self.disk.restart();
        }
        self.waiting = false;
        self.start();
        self.unheard = false;
        let have = self.node().positions().have;
        let at = |known: &(View, u64)| position(&known.0, known.1);
        if have != self.acknowledged.as_ref().map(at) {
            let found = self.begun.iter().position(|begun| Some(at(begun)) == have);
            let found = found.expect("neither acknowledged nor begun after it");
            self.acknowledged = Some(self.begun.swap_remove(found));
            self.begun.clear();
        }
    }

    /// What is said is so.
    fn look(&mut self) {
        let Some(said) = self.node().positions().enforced else {
            return;
        };
        if self.unheard {
            return;
        }
        let mut known = self.acknowledged.iter().chain(&self.begun);
        let view = known.find(|(view, revision)| {
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
        self.disk.set_faults(disk::Faults::default());
        self.hear();
        self.node().settle();
        self.take_decision();
        if self.node().is_troubled() {
            // The kernel has a view that the disk lost: it stays, and the node says so, until the control plane sends one.
            let told = self.node().observed().conditions;
            assert!(
                told.iter().any(|told| told.reason == "SavedViewLost"),
                "{told:?}"
            );
            assert_eq!(self.node().positions().enforced, None);
            self.waiting = false;
            self.change();
        }
        assert!(!self.waiting, "it still waits");
        assert!(!self.node().wants_retry());
        let positions = self.node().positions();
        assert_eq!(positions.enforced, positions.have);
        let at = self.acknowledged.as_ref().map(|(v, r)| position(v, *r));
        assert_eq!(positions.have, at);
        if let Some((view, _)) = &self.acknowledged {
            assert!(self.kernel.holds(view, &self.environment));
        }
        // And it is on disk: a machine that starts has it.
        self.restart();
        assert_eq!(self.node().positions(), positions);
    }
}

#[test]
fn any_sequence_of_changes_and_faults_ends_enforced_and_is_never_told_otherwise() {
    for seed in 0..seeds() {
        let mut world = World::new(seed);
        let sequence = std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                world.step();
            }
            world.calm_down();
        });
        if let Err(panic) = std::panic::catch_unwind(sequence) {
            eprintln!("seed {seed}:\n{}", world.log.join("\n"));
            std::panic::resume_unwind(panic);
        }
    }
}
