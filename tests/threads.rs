//! Everything at once: readers, writers, scans, batches and checkpoints against each other, on real files, with so
//! little memory that writers are slowed and checkpoints never end.
//!
//! What must hold whoever comes first: values move between records, so their sum stays; two records of a pair are
//! only ever written together, so they are equal in every cut; ids are given once.

mod kit;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use diamonddb::{Database, Durability, Error, OpenOptions, RecordId, Records, ScanRange, Table};
use kit::witness::{self, Board, Deed};
use kit::{Folder, fetch, figure, numbers, packed, save, save_many, scanned, scanned_range};

/// Records whose values move. Records 2n and 2n + 1 of the other table are pairs.
const COUNT: u64 = 8000;
const TOTAL: i64 = 100 * COUNT as i64;

/// A thread's own numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn options(durability: Durability) -> OpenOptions {
    OpenOptions {
        durability,
        interval_ms: 5,
        dirty_soft: 48 << 10,
        dirty_hard: 96 << 10,
        sizes: kit::small_sizes(),
        ..OpenOptions::default()
    }
}

/// Moves some value from one record to another, and steps a pair, in one batch. False if another came between.
fn transfer(db: &Database, moving: &Table, pairs: &Table, random: &mut Random) -> bool {
    let (from, to) = (RecordId(random.below(COUNT)), RecordId(random.below(COUNT)));
    if from == to {
        return false;
    }
    let pair = random.below(COUNT / 2) * 2;
    let (left, right) = (fetch(moving, from).unwrap(), fetch(moving, to).unwrap());
    let step = fetch(pairs, RecordId(pair)).unwrap();
    let amount = random.below(50) as i64;
    let mut batch = db.batch().unwrap();
    batch.expect(moving, from, packed(&left.to_le_bytes())).unwrap();
    batch.expect(moving, to, packed(&right.to_le_bytes())).unwrap();
    batch.expect(pairs, RecordId(pair), packed(&step.to_le_bytes())).unwrap();
    batch.replace(moving, from, packed(&(left - amount).to_le_bytes())).unwrap();
    batch.replace(moving, to, packed(&(right + amount).to_le_bytes())).unwrap();
    for id in [pair, pair + 1] {
        batch.replace(pairs, RecordId(id), packed(&(step + 1).to_le_bytes())).unwrap();
    }
    match batch.commit(false) {
        Ok(_) => true,
        Err(Error::Conflict(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn hammer(durability: Durability, rounds: usize) {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &options(durability)).unwrap();
    let (moving, pairs, log) = (numbers(&db, "moving"), numbers(&db, "pairs"), numbers(&db, "log"));
    save_many(&moving, (0..COUNT).map(|_| 100)).unwrap();
    save_many(&pairs, (0..COUNT).map(|_| 0)).unwrap();
    let stop = AtomicBool::new(false);
    let running = || !stop.load(Ordering::Relaxed);
    let saved: Vec<(u64, i64)> = std::thread::scope(|scope| {
        for seed in 0..8 {
            let (moving, pairs, running) = (&moving, &pairs, &running);
            scope.spawn(move || {
                let mut random = Random(seed);
                while running() {
                    fetch(moving, RecordId(random.below(COUNT))).unwrap();
                    // Of a pair, the one that is read later is never behind.
                    let pair = random.below(COUNT / 2) * 2;
                    let first = fetch(pairs, RecordId(pair)).unwrap();
                    assert!(fetch(pairs, RecordId(pair + 1)).unwrap() >= first);
                    // Eight of them leave the writers their turn.
                    std::thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            let mut reverse = false;
            while running() {
                reverse = !reverse;
                match scanned_range(&moving, ScanRange { reverse, ..ScanRange::default() }) {
                    Ok(found) => {
                        assert_eq!(found.iter().map(|(_, value)| value).sum::<i64>(), TOTAL);
                    }
                    Err(other) => panic!("{other:?}"),
                }
                let found = scanned(&pairs).unwrap();
                assert!(found.chunks_exact(2).all(|pair| pair[0].1 == pair[1].1), "a pair is torn apart");
            }
        });
        scope.spawn(|| {
            while running() {
                db.checkpoint().unwrap();
                std::thread::yield_now();
            }
        });
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (db, moving, pairs, log) = (&db, &moving, &pairs, &log);
                scope.spawn(move || {
                    let mut random = Random(100 + writer);
                    let (mut kept, mut done) = (Vec::new(), 0);
                    while done < rounds {
                        done += usize::from(transfer(db, moving, pairs, &mut random));
                        let value = (writer * 1_000_000) as i64 + done as i64;
                        let id = save(log, value).unwrap();
                        if done % 3 == 0 {
                            log.delete(id).unwrap();
                        } else {
                            kept.push((id.0, value));
                        }
                        if done % 100 == 50 {
                            let first = save_many(log, (0..1500).map(|_| value)).unwrap().0;
                            kept.extend((first..first + 1500).map(|id| (id, value)));
                        }
                    }
                    kept
                })
            })
            .collect();
        let saved = writers.into_iter().map(|writer| writer.join());
        let saved: Vec<_> = saved.collect();
        stop.store(true, Ordering::Relaxed);
        saved.into_iter().flat_map(|kept| kept.unwrap()).collect()
    });
    assert!(figure(&db, "checkpoints") > 10, "many checkpoints ran");
    assert!(figure(&db, "writers_slowed") > 0, "memory was short");
    let is_right = |db: &Database| {
        let found = scanned(&db.table("moving").unwrap()).unwrap();
        assert_eq!(found.len() as u64, COUNT);
        assert_eq!(found.iter().map(|(_, value)| value).sum::<i64>(), TOTAL);
        let pairs = scanned(&db.table("pairs").unwrap()).unwrap();
        assert!(pairs.chunks_exact(2).all(|pair| pair[0].1 == pair[1].1));
        assert!(pairs.iter().step_by(2).map(|(_, steps)| steps).sum::<i64>() == 4 * rounds as i64);
        let log = db.table("log").unwrap();
        let mut expected = saved.clone();
        expected.sort_unstable();
        assert_eq!(scanned(&log).unwrap(), expected);
        assert_eq!(log.count().unwrap() as usize, expected.len());
        assert_eq!(db.verify().unwrap().findings, []);
    };
    is_right(&db);
    db.flush().unwrap();
    let killed = folder.copy();
    db.close().unwrap();
    for folder in [folder, killed] {
        is_right(&Database::open(folder.path(), &options(durability)).unwrap());
    }
}

#[test]
fn readers_writers_scans_and_checkpoints_agree_in_sync_mode() {
    hammer(Durability::Sync, 150);
}

#[test]
fn readers_writers_scans_and_checkpoints_agree_in_os_mode() {
    hammer(Durability::Os, 400);
}

#[test]
fn readers_writers_scans_and_checkpoints_agree_in_async_mode() {
    hammer(Durability::Async, 400);
}

#[test]
fn in_a_group_commit_every_member_gets_its_own_id_and_keeps_it() {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &OpenOptions::default()).unwrap();
    let table = numbers(&db, "numbers");
    let all: Vec<(u64, i64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|thread| {
                let table = &table;
                scope.spawn(move || {
                    let values = (0..50).map(|index| thread * 1000 + index);
                    values.map(|value| (save(table, value).unwrap().0, value)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let ids: BTreeSet<u64> = all.iter().map(|(id, _)| *id).collect();
    assert!(ids.into_iter().eq(0..1600), "ids are distinct and dense");
    assert_eq!(figure(&db, "commits"), 1601);
    assert!(figure(&db, "syncs") < 1600, "commits share syncs");
    assert!(figure(&db, "group_commits_max") > 1);
    // As a kill leaves it: only what was acknowledged is sure to be there, and that was all.
    let killed = folder.copy();
    db.close().unwrap();
    for folder in [killed, folder] {
        let db = Database::open(folder.path(), &OpenOptions::default()).unwrap();
        let table = db.table("numbers").unwrap();
        assert_eq!(table.count().unwrap(), 1600);
        assert!(all.iter().all(|(id, value)| fetch(&table, RecordId(*id)).unwrap() == *value));
    }
}

#[test]
fn tables_are_made_renamed_and_dropped_beside_readers_and_writers() {
    let (_folder, db) = kit::database();
    let kept = numbers(&db, "kept");
    save_many(&kept, 0..1000).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let db = &db;
            scope.spawn(move || {
                for round in 0..30 {
                    let (name, new) = (format!("t{thread}"), format!("r{thread}"));
                    let table = numbers(db, &name);
                    save_many(&table, 0..round * 10).unwrap();
                    db.rename_table(&name, &new).unwrap();
                    assert_eq!(scanned(&db.table(&new).unwrap()).unwrap().len() as i64, round * 10);
                    db.drop_table(&new).unwrap();
                    assert!(save(&table, 1).is_err());
                }
            });
        }
        // All threads make the same table; all get the same one.
        for _ in 0..4 {
            scope.spawn(|| (0..30).for_each(|value| assert!(save(&numbers(&db, "shared"), value).is_ok())));
        }
        scope.spawn(|| (0..20).for_each(|_| db.checkpoint().unwrap()));
        for _ in 0..50 {
            assert_eq!(scanned(&kept).unwrap().len(), 1000);
            assert!(db.tables().unwrap().iter().any(|info| info.name == "kept"));
        }
    });
    assert_eq!(db.table("shared").unwrap().count().unwrap(), 120);
    assert_eq!(db.tables().unwrap().len(), 2);
}

#[test]
fn a_delete_beside_saves_never_takes_a_length_back() {
    let (folder, threads) = (Folder::new(), 3);
    // Everything else as by default, so that no checkpoint runs while the folder is copied.
    let options = OpenOptions { durability: Durability::Os, ..OpenOptions::default() };
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..3000).unwrap();
    std::thread::scope(|scope| {
        for number in 0..threads {
            let table = &table;
            // One deletes what was there before, the others save: the last frame may be either's.
            scope.spawn(move || match number {
                0 => (0..3000).for_each(|id| table.delete(RecordId(id)).unwrap()),
                _ => (0..2000).for_each(|value| assert!(save(table, value).is_ok())),
            });
        }
    });
    assert_eq!((table.count().unwrap(), table.next_id().unwrap()), (4000, RecordId(7000)));
    // What a kill at this moment would leave.
    let copy = folder.copy();
    let recovered = Database::open(copy.path(), &options).unwrap();
    let table = recovered.table("numbers").unwrap();
    assert_eq!((table.count().unwrap(), table.next_id().unwrap()), (4000, RecordId(7000)));
    assert_eq!(recovered.verify().unwrap().findings, []);
}

/// How many ids the table of witnesses may give.
const WITNESSES: usize = 1 << 20;

/// One owner's work: `rounds` commits of all kinds. Returns what each did.
fn bear_witness(db: &Database, table: &Table, board: &Board, owner: u64, rounds: u64, seed: u64) -> Vec<Deed> {
    let mut random = Random(seed << 8 | owner);
    let (mut deeds, mut mine) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        board.begin(owner, number);
        let record = witness::record(owner, number);
        let some = |random: &mut Random, mine: &[u64]| mine[random.below(mine.len() as u64) as usize];
        let deed = match random.below(16) {
            0..5 => {
                let id = table.save(witness::packed(&record)).unwrap();
                Deed { ids: vec![id.0], deletes: false }
            }
            // So many that full pages go straight to the file.
            5 => {
                let count = 50 + random.below(200) as usize;
                let bytes = record.repeat(count);
                let many = Records { bytes: &bytes, stride: record.len(), nulls: None, null_stride: 0, count };
                let first = table.save_many(many).unwrap().0;
                Deed { ids: (first..first + count as u64).collect(), deletes: false }
            }
            6..11 if !mine.is_empty() => {
                let id = some(&mut random, &mine);
                table.replace(RecordId(id), witness::packed(&record)).unwrap();
                Deed { ids: vec![id], deletes: false }
            }
            11 if mine.len() > 1 => {
                let id = mine.swap_remove(random.below(mine.len() as u64) as usize);
                table.delete(RecordId(id)).unwrap();
                Deed { ids: vec![id], deletes: true }
            }
            _ => {
                let mut batch = db.batch().unwrap();
                let mut ids: Vec<u64> = (0..4).filter(|_| !mine.is_empty()).map(|_| some(&mut random, &mine)).collect();
                for id in &ids {
                    batch.replace(table, RecordId(*id), witness::packed(&record)).unwrap();
                }
                batch.save(table, witness::packed(&record)).unwrap();
                batch.save(table, witness::packed(&record)).unwrap();
                ids.extend(batch.commit(false).unwrap().ids.into_iter().map(|id| id.0));
                Deed { ids, deletes: false }
            }
        };
        board.acknowledge(owner, number, &deed);
        if !deed.deletes {
            mine.extend(&deed.ids);
            mine.sort_unstable();
            mine.dedup();
        }
        deeds.push(deed);
    }
    deeds
}

/// A table that is made, filled, renamed and dropped, again and again.
fn come_and_go(db: &Database, rounds: u64) {
    for round in 0..rounds {
        let table = db.make_table("passing", &witness::schema()).unwrap();
        let record = witness::record(0, round);
        (0..round % 40).for_each(|_| assert!(table.save(witness::packed(&record)).is_ok()));
        db.rename_table("passing", "gone soon").unwrap();
        assert_eq!(witness::scan(&db.table("gone soon").unwrap(), false).len() as u64, round % 40);
        db.drop_table("gone soon").unwrap();
        assert!(matches!(table.save(witness::packed(&record)), Err(Error::NotFound(_))));
    }
}

/// `DIAMOND_ROUNDS` is how many commits each writer makes, `DIAMOND_SEED` which ones.
#[test]
fn every_record_tells_who_wrote_it_when_and_nobody_reads_one_that_is_torn_stale_or_back_again() {
    const OWNERS: u64 = 4;
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, seed) = (number("DIAMOND_ROUNDS", 400), number("DIAMOND_SEED", 53_664));
    println!("DIAMOND_ROUNDS={rounds} DIAMOND_SEED={seed}");
    let folder = Folder::new();
    let options = options(Durability::Os);
    let db = Database::open(folder.path(), &options).unwrap();
    let table = db.make_table("witnesses", &witness::schema()).unwrap();
    let board = Board::new(OWNERS as usize, WITNESSES);
    let stop = AtomicBool::new(false);
    let running = || !stop.load(Ordering::Relaxed);
    let (deeds, scans) = std::thread::scope(|scope| {
        let (db, table, board, running) = (&db, &table, &board, &running);
        let work = |owner| move || bear_witness(db, table, board, owner, rounds, seed);
        let writers: Vec<_> = (0..OWNERS).map(|owner| scope.spawn(work(owner))).collect();
        let naming = scope.spawn(move || come_and_go(db, rounds / 8));
        for reader in 0..8 {
            scope.spawn(move || {
                let mut random = Random(seed << 8 | (100 + reader));
                while running() {
                    let next = table.next_id().unwrap().0;
                    if next > 0 {
                        // The newest are the most contended.
                        let back = if random.below(2) == 0 { next } else { next.min(20) };
                        board.fetch(table, next - 1 - random.below(back));
                    }
                    std::thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            while running() {
                db.checkpoint().unwrap();
                std::thread::yield_now();
            }
        });
        let scanning = scope.spawn(move || {
            let mut scans = Vec::new();
            while running() && scans.len() < 40 {
                let floors = board.floors();
                scans.push((floors, witness::scan(table, scans.len() % 2 == 1)));
            }
            scans
        });
        let writers: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        let named = naming.join();
        stop.store(true, Ordering::Relaxed);
        named.unwrap();
        let deeds: Vec<Vec<Deed>> = writers.into_iter().map(|deeds| deeds.unwrap()).collect();
        (deeds, scanning.join().unwrap())
    });
    assert!(!scans.is_empty());
    for (floors, found) in &scans {
        witness::assert_is_cut(found, &deeds, floors);
    }
    assert!(figure(&db, "checkpoints") > 10, "many checkpoints ran");
    let all = vec![rounds; OWNERS as usize];
    let is_right = |db: &Database| {
        let found = witness::scan(&db.table("witnesses").unwrap(), false);
        witness::assert_is_cut(&found, &deeds, &all);
        assert_eq!(db.tables().unwrap().len(), 1);
        assert_eq!(db.verify().unwrap().findings, []);
    };
    is_right(&db);
    db.flush().unwrap();
    let killed = folder.copy();
    db.close().unwrap();
    for folder in [folder, killed] {
        is_right(&Database::open(folder.path(), &options).unwrap());
    }
}
