//! The workloads that are crashed, struck by failures, and run on mutants: scripted ones, each for one promise, and
//! random ones, each from its seed.

use diamonddb::os::simulated::Rng;
use diamonddb::{Durability, OpenOptions};

use super::script::{Part, Step, words::*};
use super::small_sizes;

/// A script, and how it is run.
pub struct Workload {
    /// What must hold, in a sentence.
    pub name: &'static str,
    pub durability: Durability,
    /// One state in so many is cut again during its recovery.
    pub again_one_in: u64,
    pub steps: fn() -> Vec<Step>,
}

impl Workload {
    /// The scripted workload whose name begins so.
    pub fn named(start: &str) -> &'static Workload {
        let mut found = WORKLOADS.iter().filter(|workload| workload.name.starts_with(start));
        found.next().unwrap_or_else(|| panic!("there is no workload '{start}'"))
    }

    pub fn options(&self) -> OpenOptions {
        small_sizes(self.durability)
    }
}

pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "a database is made whole or not at all",
        durability: Durability::Sync,
        again_one_in: 8,
        steps: || vec![make("a")],
    },
    Workload {
        name: "saved records survive one by one",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || join([vec![make("a")], times(14, || save("a"))]),
    },
    Workload {
        name: "replaced records are the old ones or the new ones",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || {
            let replaces = [1, 0, 4, 4, 2].map(|id| replace("a", id));
            let expecting = [replace_if("a", 3, true), replace_if("a", 3, false), replace_if("a", 0, true)];
            let setup = vec![make("a"), save_many("a", 6), Step::Checkpoint];
            join([setup, replaces.to_vec(), vec![Step::Checkpoint], expecting.to_vec(), vec![Step::Reopen]])
        },
    },
    Workload {
        name: "deleted records stay deleted and whole pages of them become holes",
        durability: Durability::Sync,
        again_one_in: 80,
        steps: || {
            vec![
                make("a"),
                save_many("a", 9),
                delete("a", 0),
                delete("a", 1),
                Step::Checkpoint,
                delete_many("a", 3..8),
                delete("a", 3),
                Step::Checkpoint,
                save("a"),
                delete_many("a", [2, 8, 9]),
                Step::Checkpoint,
                save("a"),
                Step::Reopen,
                save_many("a", 2),
            ]
        },
    },
    Workload {
        name: "a batch across tables is there wholly or not at all",
        durability: Durability::Sync,
        again_one_in: 80,
        steps: || {
            let first = vec![in_save("a"), in_save("b"), in_save("a"), in_save("b")];
            let second = vec![in_expect("a", 0, true), in_replace("a", 0), in_delete("b", 1), in_save("a")];
            let refused = vec![in_save("a"), in_save("b"), in_expect("b", 0, false)];
            let third = vec![in_replace("b", 0), in_replace("b", 0), in_delete("a", 1), in_save("b"), in_save("a")];
            vec![
                make("a"),
                make_wide("b"),
                Step::Batch(first),
                Step::Batch(second.clone()),
                Step::Batch(refused),
                Step::Checkpoint,
                Step::Batch(third),
                Step::BatchNoWait(vec![in_save("a"), in_save("b")]),
                Step::BatchNoWait(vec![in_replace("a", 2), in_save("b")]),
                Step::Flush,
                Step::Reopen,
                Step::Batch(second),
            ]
        },
    },
    Workload {
        name: "tables are made, renamed and dropped whole",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || {
            vec![
                make("a"),
                save("a"),
                make_wide("b"),
                rename("a", "c"),
                Step::Checkpoint,
                save_many("b", 3),
                drop_table("c"),
                make("a"),
                save("a"),
                Step::Upkeep,
                rename("b", "c"),
                drop_table("a"),
                make_wide("a"),
                rename("c", "c"),
                save("a"),
                Step::Checkpoint,
                drop_table("c"),
                Step::Reopen,
                make("c"),
                save("c"),
                drop_table("a"),
                Step::Checkpoint,
            ]
        },
    },
    Workload {
        name: "checkpoints between commits lose no page",
        durability: Durability::Sync,
        again_one_in: 150,
        steps: || {
            let round = |id| [save("a"), replace("a", id), Step::Checkpoint, save_many("a", 3), save("b")];
            let setup = vec![make("a"), make_wide("b"), save_many("a", 8)];
            join([setup, (0..5).flat_map(round).collect(), vec![Step::Checkpoint, Step::Checkpoint]])
        },
    },
    Workload {
        name: "commits in the midst of a checkpoint belong to the next one",
        durability: Durability::Sync,
        again_one_in: 100,
        steps: || {
            let setup = vec![make("a"), make_wide("b"), save_many("a", 12), save("b"), Step::Checkpoint];
            let rounds = (0..12).flat_map(|call| {
                let inside = [save("a"), replace("a", 1), replace("a", 11), replace("a", call as u64), save("b")];
                // More pages than a checkpoint takes at once, so that some are changed before they are taken.
                let before = [0, 2, 4, 6, 8, 10].map(|id| replace("a", id));
                before.into_iter().chain([save("b"), during(call, inside)])
            });
            join([setup, rounds.collect(), vec![Step::Checkpoint, Step::Reopen, save("a")]])
        },
    },
    Workload {
        name: "a page that changes before a checkpoint takes it is written as it was",
        durability: Durability::Sync,
        again_one_in: 100,
        steps: || {
            let rounds = (0..3).flat_map(|call| {
                let before = [0, 4, 8, 10, 12, 16].map(|id| replace("a", id));
                before.into_iter().chain([during(call, [replace("a", 11), replace("a", 13), replace("a", 16)])])
            });
            join([vec![make("a"), save_many("a", 12), save_many("a", 6), Step::Checkpoint], rounds.collect()])
        },
    },
    Workload {
        name: "tables made and dropped in the midst of a checkpoint are whole",
        durability: Durability::Sync,
        again_one_in: 100,
        steps: || {
            let rounds = (0..7).flat_map(|call| {
                let inside =
                    [drop_table("a"), make("c"), save("c"), rename("c", "d"), drop_table("d"), make("e"), save("e")];
                let after = [drop_table("b"), save("e"), Step::Checkpoint, drop_table("e")];
                [make("a"), save_many("a", 3), make("b"), save("b"), during(call, inside)].into_iter().chain(after)
            });
            join([rounds.collect(), vec![Step::Checkpoint]])
        },
    },
    Workload {
        name: "what is dropped in the midst of a checkpoint comes back if the drop was not durable",
        durability: Durability::Async,
        again_one_in: 100,
        steps: || {
            let rounds = (0..7).flat_map(|call| {
                let inside = [drop_table("a"), make("b"), save("b")];
                [make("a"), save_many("a", 3), Step::Checkpoint, save("a"), during(call, inside), drop_table("b")]
            });
            join([rounds.collect(), vec![Step::Flush]])
        },
    },
    Workload {
        name: "tables grow over many pages and files",
        durability: Durability::Sync,
        again_one_in: 400,
        steps: || {
            let round = || vec![save_many("a", 11), save_many("b", 3)];
            let rounds = (0..6).flat_map(|_| round());
            join([vec![make("a"), make_wide("b")], rounds.collect(), vec![Step::Checkpoint], round(), round()])
        },
    },
    Workload {
        name: "the wal rolls over many segments",
        durability: Durability::Sync,
        again_one_in: 400,
        steps: || {
            let round = |_| [save_many("b", 2), replace("b", 0), save_many("a", 10), replace("a", 3)];
            let end = vec![Step::Checkpoint, replace("a", 7)];
            join([vec![make("a"), make_wide("b"), save("b")], (0..20).flat_map(round).collect(), end])
        },
    },
    Workload {
        name: "upkeep makes checkpoints by itself and segments are used again",
        durability: Durability::Sync,
        again_one_in: 500,
        steps: || {
            let round = |_| [save_many("b", 3), replace("b", 0), save_many("a", 10), replace("a", 5), Step::Upkeep];
            join([vec![make("a"), make_wide("b"), save("b")], (0..36).flat_map(round).collect()])
        },
    },
    Workload {
        name: "bulk appends reach the file before their frame does",
        durability: Durability::Sync,
        again_one_in: 150,
        steps: || {
            vec![
                make("a"),
                make_wide("b"),
                save_many("a", 15),
                save_many("a", 20),
                replace("a", 16),
                save("a"),
                save_many("b", 9),
                Step::Checkpoint,
                save_many("a", 33),
                delete_many("a", 40..50),
                Step::During(1, vec![save("a"), save_many("a", 16), replace("a", 3)]),
                save_many("b", 5),
                Step::Reopen,
                save_many("a", 14),
                Step::Checkpoint,
            ]
        },
    },
    Workload {
        name: "a bulk append follows commits that were refused",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || {
            vec![
                make("a"),
                save_many("a", 2),
                Step::Batch(vec![in_save("a"), in_expect("a", 0, false)]),
                save_many("a", 20),
                Step::Verify,
                Step::Checkpoint,
                Step::Batch(vec![in_save("a"), in_expect("a", 0, false)]),
                save_many("a", 20),
                Step::Verify,
                replace("a", 22),
                Step::Checkpoint,
                Step::Verify,
            ]
        },
    },
    Workload {
        name: "a flush covers what was committed before it, and counts for nothing later",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || {
            let beside = |_| {
                let inside = vec![Step::BatchNoWait(vec![in_save("a")])];
                [Step::BatchNoWait(vec![in_save("a")]), Step::InFlush(inside), Step::Flush, replace("a", 0)]
            };
            join([vec![make("a"), save("a")], (0..4).flat_map(beside).collect()])
        },
    },
    Workload {
        name: "in os mode a flush covers what was written before it, and counts for nothing later",
        durability: Durability::Os,
        again_one_in: 60,
        steps: || {
            let beside = |_| [save("a"), Step::InFlush(vec![save("a"), replace("a", 0)]), Step::Flush, save("a")];
            join([vec![make("a"), save("a")], (0..4).flat_map(beside).collect()])
        },
    },
    Workload {
        name: "after each power cut the database goes on, and what was taken back stays away",
        durability: Durability::Async,
        again_one_in: 60,
        steps: || {
            let life = |back| {
                let written = [save("a"), save("a"), replace("a", 0), save_many("a", 14), save("a")];
                let end = [Step::Upkeep, save("a"), Step::PowerCut(back), make("a"), Step::Flush];
                written.into_iter().chain(end)
            };
            join([vec![make("a"), save("a"), Step::Flush], (0..8).flat_map(life).collect()])
        },
    },
    Workload {
        name: "a scan that is open while all is written sees none of it",
        durability: Durability::Sync,
        again_one_in: 200,
        steps: || {
            let inside = vec![replace("a", 0), delete("a", 3), save_many("a", 15), Step::Checkpoint, replace("a", 1)];
            let nested = scanning("a", vec![replace("a", 2), Step::Checkpoint, save("a"), delete("a", 5)]);
            vec![make("a"), save_many("a", 7), scanning("a", join([inside, vec![nested]])), Step::Reopen, save("a")]
        },
    },
    Workload {
        name: "snapshots and pins that are open over checkpoints stand still and take nothing from a crash",
        durability: Durability::Sync,
        again_one_in: 200,
        steps: || {
            let inside = vec![replace("a", 0), delete("a", 3), save_many("a", 15), Step::Checkpoint, replace("a", 1)];
            let nested = holding("a", vec![replace("a", 2), during(3, [save("a"), delete("a", 5)]), Step::Checkpoint]);
            let dropped = holding("a", vec![save("a"), drop_table("a"), make_wide("a"), Step::Checkpoint, save("a")]);
            vec![make("a"), save_many("a", 7), holding("a", join([inside, vec![nested]])), Step::Reopen, dropped]
        },
    },
    Workload {
        name: "a clean close is withdrawn before the first commit after it",
        durability: Durability::Sync,
        again_one_in: 40,
        steps: || {
            vec![
                make("a"),
                save("a"),
                Step::Reopen,
                Step::Reopen,
                save("a"),
                Step::Reopen,
                replace("a", 0),
                Step::Checkpoint,
                Step::Reopen,
                delete("a", 9),
                Step::Reopen,
                Step::Batch(vec![in_save("a"), in_expect("a", 0, false)]),
                Step::Reopen,
                save_many("a", 14),
                Step::Reopen,
                drop_table("a"),
            ]
        },
    },
    Workload {
        name: "recovery is cut short again and again",
        durability: Durability::Sync,
        again_one_in: 6,
        steps: || {
            vec![
                make("a"),
                save_many("a", 5),
                Step::Checkpoint,
                replace("a", 1),
                save_many("a", 14),
                drop_table("a"),
                make_wide("a"),
                save("a"),
            ]
        },
    },
    Workload {
        name: "a checkpoint that fails is as if it had not begun",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || vec![make("a"), save("a"), Step::Checkpoint, replace("a", 0), save("a"), Step::Checkpoint, save("a")],
    },
    Workload {
        name: "a recovery that fails is as if it had not begun",
        durability: Durability::Sync,
        again_one_in: 10,
        steps: || vec![make("a"), save("a"), Step::Checkpoint, replace("a", 0), save("a"), Step::Kill, save("a")],
    },
    Workload {
        name: "another process goes on where one was killed",
        durability: Durability::Sync,
        again_one_in: 100,
        steps: || {
            vec![
                make("a"),
                save_many("a", 5),
                Step::Kill,
                save("a"),
                Step::Checkpoint,
                replace("a", 2),
                Step::BatchNoWait(vec![in_save("a")]),
                Step::Kill,
                Step::Kill,
                save_many("a", 16),
                Step::Reopen,
                save("a"),
                Step::Kill,
                replace("a", 0),
            ]
        },
    },
    Workload {
        name: "in os mode a killed process loses nothing, and a power cut leaves a prefix",
        durability: Durability::Os,
        again_one_in: 100,
        steps: || {
            vec![
                make("a"),
                save("a"),
                save("a"),
                Step::Flush,
                replace("a", 0),
                save_many("a", 15),
                save("a"),
                Step::Kill,
                replace("a", 1),
                save("a"),
                make_wide("b"),
                save_many("b", 2),
                Step::Checkpoint,
                delete("a", 2),
                save("b"),
                Step::Kill,
                save("a"),
                drop_table("b"),
                Step::Reopen,
                save("a"),
            ]
        },
    },
    Workload {
        name: "in async mode a crash leaves a prefix that has all that was flushed",
        durability: Durability::Async,
        again_one_in: 100,
        steps: || {
            let round = |id| [save("a"), replace("a", id), save_many("a", 8), Step::Upkeep];
            let rounds: Vec<Step> = (0..4).flat_map(round).collect();
            let middle = vec![Step::Flush, save("a"), save_many("a", 14), Step::Kill];
            let end = vec![Step::Checkpoint, save("a"), delete("a", 0), Step::Reopen, save("a")];
            join([vec![make("a")], rounds.clone(), middle, rounds, end])
        },
    },
];

fn join<const N: usize>(parts: [Vec<Step>; N]) -> Vec<Step> {
    parts.concat()
}

fn times(count: usize, step: impl Fn() -> Step) -> Vec<Step> {
    (0..count).map(|_| step()).collect()
}

/// The options and the steps that follow from a seed: all verbs, in any order, with sizes drawn anew.
pub fn random(seed: u64) -> (OpenOptions, Vec<Step>) {
    let mut random = Random { rng: Rng::new(seed), durability: Durability::Sync };
    random.durability = random.some(&[Durability::Sync, Durability::Sync, Durability::Os, Durability::Async]);
    let mut options = small_sizes(random.durability);
    let sizes = &mut options.sizes;
    sizes.page = random.some(&[64, 64, 128, 256]);
    sizes.segment_min = random.some(&[8192, 12288]);
    sizes.segment_max = random.some(&[8192, 16384, 32768]).max(sizes.segment_min);
    sizes.growth_min = random.some(&[64, 256, 4096]);
    sizes.growth_max = random.some(&[1024, 8192]).max(sizes.growth_min);
    sizes.bulk_min = random.some(&[200, 400, 900]);
    sizes.chunk = random.some(&[64, 256, 1024]);
    sizes.stripes = random.some(&[1, 4, 16]);
    sizes.buffer = random.some(&[2048, 8192]);
    sizes.open_files = random.some(&[2, 4, 16]);
    let mut steps = vec![make("a"), make_wide("b"), save_many("a", 9), save_many("b", 3)];
    for _ in 0..4 + random.rng.below(5) {
        random.spell(&mut steps);
    }
    (options, steps)
}

struct Random {
    rng: Rng,
    durability: Durability,
}

impl Random {
    /// Some steps that go together.
    fn spell(&mut self, steps: &mut Vec<Step>) {
        let count = 1 + self.rng.below(5);
        steps.extend((0..count).map(|_| self.step()));
        match self.rng.below(12) {
            0 | 1 => steps.push(Step::Checkpoint),
            2 => steps.push(Step::Upkeep),
            3 | 4 => {
                // A writer makes a checkpoint itself where the wal has grown too long, which must not be in the midst
                // of one: so the wal is short before.
                steps.push(Step::Checkpoint);
                steps.extend((0..3).map(|_| self.step()));
                let inside: Vec<Step> = (0..1 + self.rng.below(4)).map(|_| self.step()).collect();
                steps.push(during(self.rng.below(14) as usize, inside));
            }
            5 => {
                steps.extend([Step::Checkpoint, Step::BatchNoWait(self.parts())]);
                steps.push(Step::InFlush(vec![Step::BatchNoWait(vec![in_save("a")])]));
            }
            6 => {
                let mut inside: Vec<Step> = (0..1 + self.rng.below(4)).map(|_| self.step()).collect();
                // A scan of a table that is dropped meanwhile ends in an error.
                inside.retain(|step| !matches!(step, Step::Drop(_)));
                let table = self.table();
                let checkpoint = self.rng.chance(1, 2).then_some(Step::Checkpoint);
                let inside = inside.into_iter().chain(checkpoint);
                steps.push(if self.rng.chance(1, 2) { scanning(table, inside) } else { holding(table, inside) });
            }
            7 => steps.push(Step::Reopen),
            8 => steps.push(Step::Kill),
            9 | 10 => steps.push(Step::PowerCut(self.rng.below(30) as usize)),
            _ => steps.push(Step::Flush),
        }
    }

    /// One commit, or an attempt at one.
    fn step(&mut self) -> Step {
        let (table, id) = (self.table(), self.rng.below(30));
        match self.rng.below(16) {
            0..3 => save(table),
            3 => save_many(table, 1 + self.rng.below(8) as usize),
            4 => save_many(table, 10 + self.rng.below(20) as usize),
            5..8 => replace(table, self.rng.below(10)),
            8 => replace_if(table, self.rng.below(10), self.rng.chance(2, 3)),
            9 => delete(table, id),
            10 => delete_many(table, id / 2..id / 2 + self.rng.below(6)),
            11 => Step::Batch(self.parts()),
            12 => Step::BatchNoWait(self.parts()),
            13 => drop_table(table),
            14 => rename(table, self.some(&["a", "b", "c", "d"])),
            _ => {
                let name = self.some(&["a", "b", "c"]);
                if self.rng.chance(1, 3) { make_wide(name) } else { make(name) }
            }
        }
    }

    fn parts(&mut self) -> Vec<Part> {
        let part = |random: &mut Random| {
            let (table, id) = (random.table(), random.rng.below(8));
            match random.rng.below(8) {
                0..4 => in_save(table),
                4 | 5 => in_replace(table, id),
                6 => in_delete(table, id),
                _ => in_expect(table, id, random.rng.chance(3, 4)),
            }
        };
        (0..1 + self.rng.below(5)).map(|_| part(self)).collect()
    }

    fn table(&mut self) -> &'static str {
        self.some(&["a", "a", "a", "b", "b", "c"])
    }

    fn some<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.below(of.len() as u64) as usize]
    }
}
