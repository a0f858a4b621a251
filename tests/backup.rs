//! Backup: the copy is one state of the database whatever happens beside it, and what is not a whole copy never opens
//! as one.
#![cfg(feature = "simulation")]

mod kit;
mod support;

use std::ops::ControlFlow;

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

fn silent(_done: u64, _total: u64) -> ControlFlow<()> {
    GO_ON
}

/// On simulated disks everything happens on one thread: what goes on beside a backup is done by its progress callback,
/// which is called after every few pages. Then each call of the target's disk fails once and from then on, and power
/// cuts end the making of the copy before each event. `DIAMOND_SEED` and `DIAMOND_STATES` (samples at each crash
/// point, 12 if not given) change what is visited.
mod on_simulated_disks {
    use std::sync::Arc;

    use diamonddb::os::Disk;
    use diamonddb::os::simulated::{FailKind, Failure, Rng, SimulatedDisk};
    use diamonddb::{Database, Durability, Error, OpenOptions};

    use super::kit::{assert_error, figure, numbers};
    use super::support::model::Model;
    use super::support::script::{Step, abandon, call, words::*};
    use super::support::{number_from_env, oracle, small_sizes};
    use super::{ControlFlow, GO_ON, kit, silent};

    /// The disk that copies go to has garbage of its own.
    fn target() -> Arc<SimulatedDisk> {
        SimulatedDisk::new(0x7A46E7)
    }

    fn sizes() -> OpenOptions {
        small_sizes(Durability::Sync)
    }

    /// A database and its model, both changed by the same steps.
    struct Source {
        disk: Arc<SimulatedDisk>,
        db: Database,
        model: Model,
        next: u64,
    }

    impl Source {
        /// Something of everything: dirty pages and clean ones, holes, an empty table, one that is not in a checkpoint.
        fn new() -> Source {
            let disk = SimulatedDisk::new(0x50C4CE);
            let db = Database::open_on(disk.clone(), &sizes()).unwrap();
            let mut source = Source { disk, db, model: Model::default(), next: 0 };
            let steps = [make("a"), save_many("a", 37), make_wide("b"), save_many("b", 9), make("empty"), make("gone")];
            source.run(&steps);
            source.run(&[delete_many("a", 4..17), drop_table("gone"), Step::Checkpoint]);
            source.run(&[replace("a", 2), save("b"), replace("b", 3), make("c"), save_many("c", 3), delete("c", 2)]);
            source
        }

        fn run(&mut self, steps: &[Step]) {
            let Source { db, model, next, .. } = self;
            steps.iter().for_each(|step| do_step(db, model, next, step));
        }
    }

    fn do_step(db: &Database, model: &mut Model, next: &mut u64, step: &Step) {
        call(db, step, *next, model).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        *model = model.after(step, *next).expect("the script is possible");
        *next += 100;
    }

    /// Opens what should be a copy, compares everything, and goes on with it. Returns what it says if it is refused.
    fn whole_or_refused(disk: &Arc<SimulatedDisk>, expected: &Model, thorough: bool) -> Result<(), Error> {
        let db = Database::open_on(disk.clone(), &sizes())?;
        let found = oracle::read(&db).unwrap_or_else(|error| panic!("reading: {error}"));
        assert!(found == *expected, "{}", expected.difference(&found));
        if thorough {
            oracle::agree(&db, &found).unwrap_or_else(|what| panic!("{what}"));
            let (mut model, mut next) = (found, 1_000_000);
            let steps = [Step::Checkpoint, save("a"), replace("a", 0), save_many("b", 20), save("empty"), make("new")];
            steps.iter().for_each(|step| do_step(&db, &mut model, &mut next, step));
            db.close().unwrap();
            let db = Database::open_on(disk.clone(), &sizes()).unwrap();
            oracle::agree(&db, &model).unwrap();
        } else {
            abandon(disk, Some(Arc::new(db)));
        }
        Ok(())
    }

    #[test]
    fn a_copy_is_the_database_as_it_was_and_goes_on_as_it_would() {
        let source = Source::new();
        let disk = target();
        let (mut calls, mut last) = (0, None);
        let progress = |done, total| {
            assert!(last.is_none_or(|(before, all)| before < done && all == total), "progress goes forwards");
            assert!(done <= total);
            (calls, last) = (calls + 1, Some((done, total)));
            GO_ON
        };
        source.db.backup_on(&*disk, progress).unwrap();
        let (done, total) = last.unwrap();
        assert_eq!(done, total, "the end is told");
        assert!(calls > 5, "{calls} calls for {total} bytes");
        assert_eq!(disk.list("wal").unwrap(), [""; 0], "there is nothing to replay");
        let mut names = disk.list("").unwrap();
        names.sort_unstable();
        assert_eq!(names, ["LOCK", "MANIFEST", "data", "wal"]);
        // As it is after a power cut at this moment, in which all that can be lost is lost.
        let point = disk.recording().at(disk.events());
        assert_eq!(point.pending_sectors(), 0, "everything was synced");
        for copy in [point.state(&point.choice(false)), disk] {
            let db = Database::open_on(copy.clone(), &OpenOptions { read_only: true, ..sizes() }).unwrap();
            assert_eq!(figure(&db, "recovered_frames"), 0);
            drop(db);
            whole_or_refused(&copy, &source.model, true).unwrap();
        }
        // Of an empty database too.
        let (disk, empty) = (target(), Database::open_on(SimulatedDisk::new(2), &sizes()).unwrap());
        empty.backup_on(&*disk, silent).unwrap();
        assert_eq!(Database::open_on(disk, &sizes()).unwrap().tables().unwrap(), []);
    }

    #[test]
    fn ids_commits_and_numbers_of_files_go_on_where_the_source_was() {
        let (disk, own) = (target(), SimulatedDisk::new(3));
        let db = Database::open_on(own.clone(), &sizes()).unwrap();
        let commit = |db: &Database| {
            let mut batch = db.batch().unwrap();
            batch.save(&numbers(db, "numbers"), kit::packed(&[1; 8])).unwrap();
            let done = batch.commit(false).unwrap();
            (done.ids[0].0, done.lsn.0)
        };
        kit::save_many(&numbers(&db, "numbers"), 0..10).unwrap();
        kit::save_many(&numbers(&db, "last"), 0..10).unwrap();
        db.drop_table("last").unwrap();
        let (id, lsn) = commit(&db);
        db.backup_on(&*disk, silent).unwrap();
        let copy = Database::open_on(disk.clone(), &sizes()).unwrap();
        let (next_id, next_lsn) = commit(&copy);
        assert_eq!(next_id, id + 1);
        assert!(next_lsn > lsn, "{next_lsn} after {lsn}");
        kit::save(&numbers(&copy, "next"), 1).unwrap();
        copy.close().unwrap();
        let names = disk.list("data").unwrap();
        assert!(names.contains(&"4".to_owned()) && !names.contains(&"3".to_owned()), "{names:?}");
    }

    #[test]
    fn whatever_happens_during_a_backup_is_not_in_it() {
        let calls = {
            let (source, mut calls) = (Source::new(), 0);
            let count = |_, _| {
                calls += 1;
                GO_ON
            };
            source.db.backup_on(&*target(), count).unwrap();
            calls
        };
        for at in 0..calls {
            let Source { disk: own, db, mut model, mut next } = Source::new();
            let expected = model.clone();
            let (disk, mut call) = (target(), 0);
            let steps = [
                // All pages of all tables change, and two tables leave.
                replace("a", 0),
                replace("a", 36),
                replace("a", 18),
                Step::Batch(vec![in_replace("b", 0), in_save("a"), in_replace("c", 1)]),
                save_many("a", 30),
                drop_table("b"),
                Step::Checkpoint,
                rename("c", "b"),
                save_many("b", 40),
                make("z"),
                save_many("z", 17),
                drop_table("empty"),
                delete_many("a", 20..30),
                Step::Checkpoint,
                drop_table("z"),
                replace("a", 1),
                Step::Checkpoint,
            ];
            let progress = |_, _| {
                if call == at {
                    steps.iter().for_each(|step| do_step(&db, &mut model, &mut next, step));
                }
                call += 1;
                GO_ON
            };
            db.backup_on(&*disk, progress).unwrap();
            whole_or_refused(&disk, &expected, true).unwrap();
            oracle::agree(&db, &model).unwrap();
            // What was kept for the copy goes.
            assert_eq!(figure(&db, "old_image_bytes"), 0);
            db.step(std::time::Duration::MAX).unwrap();
            assert_eq!(figure(&db, "dirty_bytes"), 0);
            let mut names = own.list("data").unwrap();
            names.retain(|name| !name.ends_with(".sum"));
            names.sort_unstable();
            assert_eq!(names, ["1", "2", "6"], "the catalog, and tables a and b; of those that were dropped nothing");
            db.close().unwrap();
            oracle::agree(&Database::open_on(own, &sizes()).unwrap(), &model).unwrap();
        }
    }

    #[test]
    fn a_dropped_table_that_was_only_kept_for_a_backup_is_gone_after_a_close_too() {
        let Source { disk: own, db, mut model, mut next } = Source::new();
        let mut dropped = false;
        let progress = |_, _| {
            if !dropped {
                dropped = true;
                do_step(&db, &mut model, &mut next, &drop_table("b"));
                do_step(&db, &mut model, &mut next, &Step::Checkpoint);
            }
            GO_ON
        };
        db.backup_on(&*target(), progress).unwrap();
        assert!(own.list("data").unwrap().contains(&"3".to_owned()), "it was kept");
        db.close().unwrap();
        assert!(!own.list("data").unwrap().contains(&"3".to_owned()), "it is gone");
    }

    #[test]
    fn a_backup_that_is_called_off_leaves_only_its_mark() {
        let source = Source::new();
        let mut at = 0;
        loop {
            let (disk, mut call) = (target(), 0);
            let progress = |_, _| {
                call += 1;
                if call > at { ControlFlow::Break(()) } else { GO_ON }
            };
            match source.db.backup_on(&*disk, progress) {
                Ok(()) => break,
                result => assert_error(result, Error::Cancelled, &["called off"]),
            }
            // This disk cannot remove folders, so the mark stays with them.
            assert_eq!(disk.list("data").unwrap(), [""; 0]);
            assert_error(whole_or_refused(&disk, &source.model, false), Error::Format, &["not finished"]);
            at += 1;
        }
        assert!(at > 5);
        oracle::agree(&source.db, &source.model).unwrap();
    }

    const KINDS: [FailKind; 5] =
        [FailKind::InputOutput, FailKind::NoSpace, FailKind::Interrupted, FailKind::ShortWrite, FailKind::LostSync];

    #[test]
    fn whichever_call_of_the_target_fails_the_copy_is_whole_or_refused_and_the_source_goes_on() {
        let seed = number_from_env("DIAMOND_SEED", 0xBACC);
        println!("DIAMOND_SEED={seed:#x}");
        let mut source = Source::new();
        let calls = {
            let disk = target();
            source.db.backup_on(&*disk, silent).unwrap();
            disk.calls()
        };
        let mut rng = Rng::new(seed);
        let (mut failed, mut states) = (0, 0);
        for at in 0..calls {
            for (kind, lasting) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
                let disk = target();
                disk.fail(Failure { at, kind, from_then_on: lasting });
                let result = source.db.backup_on(&*disk, silent);
                let what = format!("call {at}, {kind:?}, lasting: {lasting}: {result:?}");
                assert!(matches!(result, Ok(()) | Err(Error::Io(_) | Error::Full(_))), "{what}");
                assert!(result.is_ok() || disk.failed_calls() > 0, "{what}");
                failed += u64::from(result.is_err());
                disk.clear_failures();
                let recording = disk.recording();
                let mut after = vec![disk.kill(), recording.at(recording.len()).killed()];
                for _ in 0..3 {
                    let point = recording.at(rng.below(recording.len() as u64 + 1) as usize);
                    after.push(point.state(&point.random_choice(&mut rng)));
                }
                let last = recording.at(recording.len());
                after.extend([false, true].map(|kept| last.state(&last.choice(kept))));
                // Where it failed there is more to see in how it is taken away again.
                for back in 0..if result.is_err() { recording.len().min(12) } else { 0 } {
                    let point = recording.at(recording.len() - back);
                    after.push(point.state(&point.random_choice(&mut rng)));
                }
                for (number, state) in after.iter().enumerate() {
                    states += 1;
                    let see = std::panic::AssertUnwindSafe(|| opens_as_copy(state, &source.model));
                    let opened = std::panic::catch_unwind(see);
                    let opened = opened.unwrap_or_else(|_| panic!("{what}: a wrong copy in state {number}"));
                    assert!(opened || result.is_err() || (2..5).contains(&number), "{what}: it is not there");
                }
            }
        }
        println!("{failed} backups failed, {states} states of their targets");
        assert!(failed > calls, "most failures are told");
        source.run(&[save("a"), Step::Checkpoint, save_many("b", 20)]);
        oracle::agree(&source.db, &source.model).unwrap();
    }

    /// True if it is a whole copy; false if it is refused, or an empty folder, which is none.
    fn opens_as_copy(disk: &Arc<SimulatedDisk>, expected: &Model) -> bool {
        if disk.list("").unwrap().is_empty() {
            return false;
        }
        match whole_or_refused(disk, expected, false) {
            Ok(()) => true,
            Err(error) => {
                assert!(matches!(error, Error::Format(_)), "{error:?} in a folder with {:?}", disk.list(""));
                false
            }
        }
    }

    #[test]
    fn a_power_cut_during_a_backup_leaves_the_whole_copy_or_one_that_is_refused() {
        let seed = number_from_env("DIAMOND_SEED", 0xBACC);
        let samples = number_from_env("DIAMOND_STATES", 12);
        println!("DIAMOND_SEED={seed:#x} DIAMOND_STATES={samples}");
        let Source { db, mut model, mut next, .. } = Source::new();
        let expected = model.clone();
        let disk = target();
        let mut told = 0;
        let progress = |_, _| {
            told += 1;
            let step = if told % 3 == 0 { Step::Checkpoint } else { save_many("a", 5) };
            do_step(&db, &mut model, &mut next, &step);
            GO_ON
        };
        db.backup_on(&*disk, progress).unwrap();
        let mut rng = Rng::new(seed);
        let (mut states, mut whole) = (0, 0);
        let mut see = |state: &Arc<SimulatedDisk>, place: &str| {
            states += 1;
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| opens_as_copy(state, &expected)));
            whole += u64::from(caught.unwrap_or_else(|_| panic!("a power cut at {place} leaves a wrong copy")));
        };
        let recording = disk.recording();
        for point in recording.walk() {
            let index = point.index();
            let all = (point.pending_sectors() <= 8).then(|| point.all_choices());
            for choice in all.into_iter().flatten() {
                see(&point.state(&choice), &format!("{index}:{choice}"));
            }
            for _ in 0..samples {
                let choice = point.random_choice(&mut rng);
                see(&point.state(&choice), &format!("{index}:{choice}"));
            }
            see(&point.killed(), &format!("{index}, a kill"));
        }
        println!("{} events, {states} states, {whole} of them whole", recording.len());
        assert!(whole > 0 && whole < states / 2);
        whole_or_refused(&disk, &expected, true).unwrap();
    }

    #[test]
    fn a_source_that_cannot_be_read_or_is_poisoned_has_no_backup() {
        let Source { disk: own, db, .. } = Source::new();
        own.fail(Failure { at: own.calls(), kind: FailKind::InputOutput, from_then_on: true });
        let disk = target();
        assert_error(db.backup_on(&*disk, silent), Error::Io, &["data/"]);
        assert_eq!(disk.list("data").unwrap(), [""; 0]);
        assert_error(db.checkpoint(), Error::Poisoned, &[]);
        own.clear_failures();
        assert_error(db.backup_on(&*target(), silent), Error::Poisoned, &["opened again"]);
    }

    #[test]
    fn what_nobody_waited_for_is_durable_before_it_is_in_a_copy() {
        let own = SimulatedDisk::new(9);
        let options = small_sizes(Durability::Async);
        let db = Database::open_on(own.clone(), &options).unwrap();
        let table = numbers(&db, "numbers");
        kit::save(&table, 4711).unwrap();
        let kept = |own: &SimulatedDisk| {
            let point = own.recording().at(own.events());
            let db = Database::open_on(point.state(&point.choice(false)), &options).unwrap();
            db.table("numbers").is_ok_and(|table| table.count().unwrap() == 1)
        };
        assert!(!kept(&own));
        db.backup_on(&*target(), silent).unwrap();
        assert!(kept(&own));
    }
}

mod in_real_folders {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use diamonddb::os::simulated::Rng;
    use diamonddb::{Database, Durability, Error, OpenOptions, RecordId};

    use super::kit::{
        self, Folder, assert_error, figure, files, numbers, packed, quick, replace, save, save_many, scanned,
    };
    use super::{ControlFlow, GO_ON, silent};

    #[test]
    fn a_backup_that_is_called_off_leaves_nothing_and_can_be_made_again() {
        let (folder, parent) = (Folder::new(), Folder::new());
        let db = Database::open(folder.path(), &quick()).unwrap();
        save_many(&numbers(&db, "numbers"), 0..1_000_000).unwrap();
        let path = parent.path().join("copy");
        fs::create_dir(parent.path()).unwrap();
        for there in [false, true] {
            if there {
                fs::create_dir(&path).unwrap();
            }
            let called_off = db.backup(&path, |done, _| if done > 5 << 20 { ControlFlow::Break(()) } else { GO_ON });
            assert_error(called_off, Error::Cancelled, &[]);
            assert_eq!(path.exists(), there, "the folder is as it was");
            assert_eq!(files(parent.path()).len(), 0);
        }
        // A panic of the callback is none of the engine's.
        let panic = std::panic::AssertUnwindSafe(|| db.backup(&path, |_, _| panic!("of the callback")));
        assert!(std::panic::catch_unwind(panic).is_err());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        db.backup(&path, silent).unwrap();
        db.close().unwrap();
        let copy = Database::open(&path, &quick()).unwrap();
        assert_eq!(copy.table("numbers").unwrap().count().unwrap(), 1_000_000);
    }

    #[test]
    fn a_damaged_page_stops_a_backup_and_is_named() {
        let folder = Folder::new();
        let db = Database::open(folder.path(), &quick()).unwrap();
        let table = numbers(&db, "numbers");
        save_many(&table, 0..20_000).unwrap();
        db.close().unwrap();
        // Also where the page was read before it rotted.
        for seen in [false, true] {
            let (folder, copy) = (folder.copy(), Folder::new());
            let flip = || {
                let path = folder.path().join("data/2");
                let mut bytes = fs::read(&path).unwrap();
                bytes[4096 + 3 * 8192 + 77] ^= 1;
                fs::write(&path, bytes).unwrap();
            };
            if !seen {
                flip();
            }
            let db = Database::open(folder.path(), &quick()).unwrap();
            if seen {
                assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap().len(), 20_000);
                flip();
            }
            assert_error(db.backup(copy.path(), silent), Error::Corrupt, &["data/2", "page 3"]);
            assert!(!copy.path().exists(), "no part of a copy stays");
            // Once the page has new bytes and a new sum, all is well again.
            if seen {
                continue;
            }
            drop(db);
            flip();
            Database::open(folder.path(), &quick()).unwrap().backup(copy.path(), silent).unwrap();
        }
    }

    #[test]
    fn a_target_that_is_not_empty_or_lies_in_the_database_is_refused_and_left_alone() {
        let (folder, other) = (Folder::new(), Folder::new());
        let db = Database::open(folder.path(), &quick()).unwrap();
        save(&numbers(&db, "numbers"), 1).unwrap();
        let before = files(folder.path());
        fs::create_dir(other.path()).unwrap();
        let path = |name: &str| other.path().join(name);
        fs::write(path("file"), "precious").unwrap();
        std::os::unix::fs::symlink(folder.path(), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        for name in ["full", "marked", "database"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::write(path("full/notes.txt"), "precious").unwrap();
        fs::write(path("marked/MANIFEST.unfinished"), "").unwrap();
        Database::open(path("database"), &quick()).unwrap().close().unwrap();
        let others = files(other.path());
        let inside = folder.path().join("copy");
        let roundabout = path("full/../link/data/../copy");
        let cases = [
            (folder.path().to_owned(), 104, "own folder"),
            (inside.clone(), 104, "lies in it"),
            (folder.path().join("data"), 104, "lies in it"),
            (path("link"), 104, "own folder"),
            (path("link/copy"), 104, "lies in it"),
            (roundabout, 104, "lies in it"),
            (path("file"), 104, "not a folder"),
            (path("file/below"), 104, "not a folder"),
            (path("full"), 104, "notes.txt"),
            (path("database"), 104, "not empty"),
            (path("marked"), 503, "not finished"),
            (path("nowhere/copy"), 200, "does not exist"),
            (path("dangling"), 200, "does not exist"),
            ("".into(), 200, "does not exist"),
        ];
        for (target, status, words) in cases {
            let error = db.backup(&target, |_, _| panic!("nothing is copied")).unwrap_err();
            assert_eq!(error.status(), status, "{}: {error}", target.display());
            assert!(error.message().contains(words), "{words:?} is missing in: {error}");
        }
        assert!(!inside.exists());
        assert!(files(other.path()) == others, "what was there stays as it was");
        assert!(files(folder.path()) == before);
        // A name with a slash at its end, one below a linked folder, and an empty folder that is a link are fine.
        fs::create_dir(path("empty")).unwrap();
        std::os::unix::fs::symlink(path("empty"), path("to-empty")).unwrap();
        for name in ["slash/", "to-empty"] {
            db.backup(path(name), silent).unwrap();
            assert_eq!(Database::open(path(name), &quick()).unwrap().table("numbers").unwrap().count().unwrap(), 1);
        }
        // And so is one relative to where the process is.
        let relative = relative_path(&path("near"));
        db.backup(&relative, silent).unwrap();
        assert!(path("near/MANIFEST").exists());
    }

    /// The same place, as seen from the current folder.
    fn relative_path(path: &Path) -> std::path::PathBuf {
        let here = std::env::current_dir().unwrap();
        let ups = here.components().skip(1).map(|_| "..").collect::<std::path::PathBuf>();
        ups.join(path.strip_prefix("/").unwrap())
    }

    #[test]
    fn nobody_opens_a_copy_before_it_is_whole_or_makes_two_in_one_folder() {
        let (folder, copy) = (Folder::new(), Folder::new());
        let db = Database::open(folder.path(), &quick()).unwrap();
        save_many(&numbers(&db, "numbers"), 0..100_000).unwrap();
        let own = std::process::id().to_string();
        let mut seen = 0;
        let progress = |_, _| {
            seen += 1;
            for options in [quick(), OpenOptions { read_only: true, ..quick() }] {
                assert_error(Database::open(copy.path(), &options).map(|_| ()), Error::Locked, &[&own]);
            }
            assert_error(db.backup(copy.path(), |_, _| panic!("it is not begun")), Error::Locked, &[&own]);
            GO_ON
        };
        db.backup(copy.path(), progress).unwrap();
        assert!(seen > 1);
        let db = Database::open(copy.path(), &quick()).unwrap();
        assert_eq!(db.table("numbers").unwrap().count().unwrap(), 100_000);
    }

    #[test]
    fn a_copy_takes_no_more_room_than_the_records_that_are_there() {
        let (folder, copy) = (Folder::new(), Folder::new());
        let db = Database::open(folder.path(), &quick()).unwrap();
        let table = numbers(&db, "numbers");
        save_many(&table, 0..400_000).unwrap();
        (0..20).for_each(|part| {
            let ids: Vec<RecordId> = (part * 20_000..part * 20_000 + 18_000).map(RecordId).collect();
            table.delete_many(&ids).unwrap();
        });
        db.backup(copy.path(), silent).unwrap();
        let facts = |name: &str| fs::metadata(copy.path().join(name)).unwrap();
        assert!(facts("data/2").len() > 400_000 * 16);
        assert!(facts("data/2").blocks() * 512 < 400_000 * 16 / 6, "{} blocks", facts("data/2").blocks());
        let copied = Database::open(copy.path(), &quick()).unwrap();
        assert_eq!(copied.verify().unwrap().findings, []);
        assert_eq!(scanned(&copied.table("numbers").unwrap()).unwrap(), scanned(&table).unwrap());
    }

    #[test]
    fn a_file_of_one_copy_is_none_of_another_or_of_the_source() {
        let folders = [Folder::new(), Folder::new(), Folder::new()];
        let db = Database::open(folders[0].path(), &quick()).unwrap();
        save(&numbers(&db, "numbers"), 1).unwrap();
        folders[1..].iter().for_each(|copy| db.backup(copy.path(), silent).unwrap());
        db.close().unwrap();
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let mixed = folders[to].copy();
            for name in ["data/2", "data/2.sum"] {
                fs::copy(folders[from].path().join(name), mixed.path().join(name)).unwrap();
            }
            let mixed = Database::open(mixed.path(), &quick()).unwrap();
            assert_error(scanned(&mixed.table("numbers").unwrap()), Error::Corrupt, &["data/2", "another file"]);
        }
    }

    #[test]
    fn a_database_opened_to_read_is_copied_without_a_write_to_it() {
        let folder = Folder::new();
        let db = Database::open(folder.path(), &quick()).unwrap();
        let table = numbers(&db, "numbers");
        save_many(&table, 0..50_000).unwrap();
        db.checkpoint().unwrap();
        save_many(&table, 0..50_000).unwrap();
        (0..100).for_each(|id| replace(&table, RecordId(id * 7), -1).unwrap());
        let killed = folder.copy();
        let expected = scanned(&table).unwrap();
        let before = files(killed.path());
        let copy = Folder::new();
        let options = OpenOptions { read_only: true, must_exist: true, ..quick() };
        Database::open(killed.path(), &options).unwrap().backup(copy.path(), silent).unwrap();
        assert!(files(killed.path()) == before);
        // And a copy of the copy.
        let again = Folder::new();
        Database::open(copy.path(), &options).unwrap().backup(again.path(), silent).unwrap();
        for folder in [copy, again] {
            let db = Database::open(folder.path(), &quick()).unwrap();
            assert_eq!(figure(&db, "recovered_frames"), 0);
            assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap(), expected);
        }
    }

    /// Records whose values move between the two tables. Their sum stays.
    const COUNT: u64 = 4000;
    const TOTAL: i64 = 2 * 100 * COUNT as i64;

    #[test]
    fn a_backup_beside_writers_checkpoints_bulk_appends_and_drops_is_one_state() {
        let folder = Folder::new();
        let options = OpenOptions {
            durability: Durability::Os,
            dirty_soft: 1 << 20,
            dirty_hard: 16 << 20,
            sizes: kit::small_sizes(),
            ..OpenOptions::default()
        };
        let db = Database::open(folder.path(), &options).unwrap();
        let (left, right, log) = (numbers(&db, "left"), numbers(&db, "right"), numbers(&db, "log"));
        for table in [&left, &right] {
            save_many(table, (0..COUNT).map(|_| 100)).unwrap();
        }
        let stop = AtomicBool::new(false);
        let running = || !stop.load(Ordering::Relaxed);
        let copies: Vec<Folder> = (0..6).map(|_| Folder::new()).collect();
        std::thread::scope(|scope| {
            for seed in 0..2 {
                let (db, left, right, running) = (&db, &left, &right, &running);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    while running() {
                        let (from, to) = (RecordId(rng.below(COUNT)), RecordId(rng.below(COUNT)));
                        let (a, b) = (kit::fetch(left, from).unwrap(), kit::fetch(right, to).unwrap());
                        let amount = rng.below(50) as i64;
                        let mut batch = db.batch().unwrap();
                        batch.expect(left, from, packed(&a.to_le_bytes())).unwrap();
                        batch.expect(right, to, packed(&b.to_le_bytes())).unwrap();
                        batch.replace(left, from, packed(&(a - amount).to_le_bytes())).unwrap();
                        batch.replace(right, to, packed(&(b + amount).to_le_bytes())).unwrap();
                        assert!(matches!(batch.commit(false), Ok(_) | Err(Error::Conflict(_))));
                    }
                });
            }
            scope.spawn(|| {
                let mut next = 0;
                while running() {
                    // Alone, then so many that they go straight to the file.
                    save(&log, next).unwrap();
                    save_many(&log, next + 1..next + 1501).unwrap();
                    next += 1501;
                }
            });
            scope.spawn(|| {
                for round in 0.. {
                    if !running() {
                        break;
                    }
                    let (name, new) = (format!("t{round}"), format!("r{round}"));
                    save_many(&numbers(&db, &name), 0..700).unwrap();
                    db.rename_table(&name, &new).unwrap();
                    db.drop_table(&new).unwrap();
                    db.checkpoint().unwrap();
                }
            });
            // Two at a time.
            for pair in copies.chunks(2) {
                let checkpoints = figure(&db, "checkpoints");
                while figure(&db, "checkpoints") < checkpoints + 3 {
                    std::thread::yield_now();
                }
                std::thread::scope(|scope| {
                    for copy in pair {
                        let made = || db.backup(copy.path(), silent).unwrap();
                        scope.spawn(made);
                    }
                });
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(figure(&db, "checkpoints") >= 9);
        let mut lengths = Vec::new();
        for copy in &copies {
            let db = Database::open(copy.path(), &options).unwrap();
            assert_eq!(figure(&db, "recovered_frames"), 0);
            assert_eq!(db.verify().unwrap().findings, []);
            let mut tables: BTreeMap<String, Vec<(u64, i64)>> = BTreeMap::new();
            for info in db.tables().unwrap() {
                let found = scanned(&db.table(&info.name).unwrap()).unwrap();
                assert_eq!((info.count, info.next_id), (found.len() as u64, found.len() as u64), "{}", info.name);
                tables.insert(info.name, found);
            }
            let sum = |name: &str| tables[name].iter().map(|(_, value)| value).sum::<i64>();
            assert_eq!(sum("left") + sum("right"), TOTAL, "a batch is in it wholly or not at all");
            let log = tables.remove("log").unwrap();
            assert!(log.iter().all(|(id, value)| *value == *id as i64));
            assert!([0, 1].contains(&(log.len() % 1501)), "{} entries", log.len());
            lengths.push(log.len());
            let others: Vec<&String> =
                tables.keys().filter(|name| !["left", "right"].contains(&name.as_str())).collect();
            assert!(others.len() <= 1, "{others:?}");
            for name in others {
                let expected = if name.starts_with('r') || !tables[name].is_empty() { 700 } else { 0 };
                assert!(tables[name].iter().map(|(_, value)| *value).eq(0..expected), "{name}");
            }
        }
        assert!(lengths.first() < lengths.last(), "writing went on meanwhile: {lengths:?}");
        assert_eq!(db.verify().unwrap().findings, []);
    }
}
