//! Sequences of operations, faults, kills and power cuts, against a model of what was acknowledged.
//!
//! `PALISADE_SEEDS` says how many sequences are tried.

use crate::disk::Faults;

mod items;
mod machine;

use machine::{End, Machine};

#[test]
fn after_any_faults_the_view_found_is_the_good_one_or_the_one_after_it() {
    let seeds = std::env::var("PALISADE_SEEDS").ok();
    let seeds = seeds.map_or(300, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let mut machine = Machine::new(seed);
        let run = std::panic::AssertUnwindSafe(|| machine.run());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}:\n{}", machine.log.join("\n"));
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn power_may_be_cut_at_every_call() {
    for seed in 0..4 {
        for cut_after in 0.. {
            let mut machine = Machine::new(seed);
            let faults = Faults {
                cut_after: Some(cut_after),
                ..Faults::default()
            };
            let mut life = machine.start(faults, End::Cut);
            for step in 0..6 {
                machine.transact(&mut life);
                if step == 3 {
                    machine.compact(&mut life);
                }
            }
            drop(life);
            let through = machine.disk.has_power();
            // Cut once more while the next process starts, and then not.
            machine.disk.cut_power();
            let faults = Faults {
                cut_after: Some(cut_after % 9),
                ..Faults::default()
            };
            for faults in [faults, Faults::default()] {
                let mut life = machine.start(faults, End::Cut);
                machine.confirm(&mut life);
                drop(life);
                machine.disk.cut_power();
            }
            machine.start(Faults::default(), End::Cut);
            if through {
                break;
            }
        }
    }
}
