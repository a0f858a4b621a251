//! What the simulated disk may do in a crash, does, and nothing else.

use super::*;
use crate::os::{read_exact_at, retry, write_all_at};
use std::collections::BTreeSet;

const EIO: Option<i32> = Some(libc::EIO);

fn make(disk: &SimulatedDisk, name: &str) -> Arc<dyn DiskFile> {
    disk.open(name, Open::Create).unwrap()
}

/// A disk whose file `1` holds these bytes, durably.
fn with_file(bytes: &[u8]) -> (Arc<SimulatedDisk>, Arc<dyn DiskFile>) {
    let disk = SimulatedDisk::new(7);
    let file = make(&disk, "1");
    write_all_at(&*file, bytes, 0).unwrap();
    file.sync().unwrap();
    disk.sync_folder("").unwrap();
    (disk, file)
}

fn content(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(name, Open::Read).ok()?;
    let mut bytes = vec![0; file.size().unwrap() as usize];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    Some(bytes)
}

/// What `name` may hold after a crash now, over all choices.
fn outcomes(disk: &SimulatedDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let recording = disk.recording();
    let point = recording.at(recording.len());
    point.all_choices().map(|choice| content(&point.state(&choice), name)).collect()
}

fn crash(disk: &SimulatedDisk, kept: bool) -> Arc<SimulatedDisk> {
    let recording = disk.recording();
    let point = recording.at(recording.len());
    point.state(&point.choice(kept))
}

fn once(at: u64, kind: FailKind) -> Failure {
    Failure { at, kind, from_then_on: false }
}

#[test]
fn a_new_file_is_made_by_one_alone() {
    let (disk, _) = with_file(b"old");
    for name in ["1", "2"] {
        let first = disk.open(name, Open::New).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(first, if name == "1" { Err(io::ErrorKind::AlreadyExists) } else { Ok(()) });
    }
    assert!(disk.open("2", Open::New).is_err());
    assert_eq!(content(&disk, "1"), Some(b"old".to_vec()));
}

#[test]
fn an_unsynced_write_may_vanish_and_a_synced_one_may_not() {
    let (disk, file) = with_file(b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    assert_eq!(outcomes(&disk, "1"), [Some(b"old".to_vec()), Some(b"new".to_vec())].into());
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "1"), [Some(b"new".to_vec())].into());
}

#[test]
fn an_unsynced_write_may_be_torn_at_any_sector() {
    let (disk, file) = with_file(&[1; 1536]);
    write_all_at(&*file, &[2; 1000], 256).unwrap();
    let recording = disk.recording();
    let point = recording.at(recording.len());
    assert_eq!(point.pending_sectors(), 3);
    let found = outcomes(&disk, "1");
    assert_eq!(found.len(), 8);
    let mut torn = vec![1; 1536];
    torn[512..1024].fill(2);
    assert!(found.contains(&Some(torn)));
}

#[test]
fn a_surviving_sector_may_be_torn_at_any_byte() {
    let (disk, file) = with_file(&[1; 512]);
    write_all_at(&*file, &[2; 512], 0).unwrap();
    let recording = disk.recording();
    let point = recording.at(recording.len());
    let mut rng = Rng::new(1);
    let (mut heads, mut tails) = (0, 0);
    for _ in 0..500 {
        let choice = point.random_choice(&mut rng);
        let bytes = content(&point.state(&choice), "1").unwrap();
        let new = bytes.iter().filter(|&&byte| byte == 2).count();
        heads += usize::from(new % 512 != 0 && bytes[0] == 2);
        tails += usize::from(new % 512 != 0 && bytes[511] == 2);
    }
    assert!(heads > 20);
    assert!(tails > 5);
}

#[test]
fn writes_may_survive_in_any_order() {
    let (disk, file) = with_file(&[0; 1024]);
    write_all_at(&*file, &[1; 512], 0).unwrap();
    write_all_at(&*file, &[2; 512], 512).unwrap();
    let later_only = [[0; 512], [2; 512]].concat();
    assert!(outcomes(&disk, "1").contains(&Some(later_only)));
}

#[test]
fn a_size_may_come_before_its_data() {
    let (disk, file) = with_file(b"old");
    write_all_at(&*file, b"new", 3).unwrap();
    let found = outcomes(&disk, "1");
    assert!(found.contains(&Some(b"old".to_vec())));
    assert!(found.contains(&Some(b"oldnew".to_vec())));
    let early = found.iter().flatten().find(|bytes| bytes.len() == 6 && !bytes.ends_with(b"new")).unwrap();
    assert!(early[3..].iter().all(|&byte| byte != 0));
    file.set_size(1).unwrap();
    file.sync().unwrap();
    file.set_size(3).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "1"), [Some(b"o\0\0".to_vec())].into());
}

#[test]
fn allocated_space_holds_garbage_until_it_is_written() {
    let (disk, file) = with_file(b"old");
    file.allocate(0, 8192).unwrap();
    file.sync().unwrap();
    write_all_at(&*file, &[5; 100], 4000).unwrap();
    file.punch(6000, 1000).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk, "1").unwrap()[3..4000], [0; 3997]);
    let bytes = content(&crash(&disk, true), "1").unwrap();
    assert_eq!(bytes.len(), 8192);
    assert!(bytes.starts_with(b"old"));
    assert_eq!(bytes[4000..4100], [5; 100]);
    assert_eq!(bytes[6000..7000], [0; 1000]);
    for garbage in [&bytes[3..4000], &bytes[4100..6000], &bytes[7000..]] {
        assert!(garbage.iter().all(|&byte| byte != 0));
    }
}

#[test]
fn garbage_may_be_what_a_removed_file_held() {
    let (disk, _) = with_file(b"the former content");
    disk.remove("1").unwrap();
    let file = make(&disk, "2");
    file.allocate(0, 10).unwrap();
    file.sync().unwrap();
    disk.sync_folder("").unwrap();
    let recording = disk.recording();
    let point = recording.at(recording.len());
    let choice = Choice { garbage: Garbage::Removed(1), ..point.choice(true) };
    assert_eq!(content(&point.state(&choice), "2").unwrap(), b"the former");
    let choice = Choice { garbage: Garbage::Zeros, ..point.choice(true) };
    assert_eq!(content(&point.state(&choice), "2").unwrap(), [0; 10]);
}

#[test]
fn a_hole_may_be_lost_or_kept() {
    let (disk, file) = with_file(&[1; 8192]);
    file.punch(0, 4096).unwrap();
    let found = outcomes(&disk, "1");
    assert_eq!(found, [Some(vec![1; 8192]), Some([[0; 4096], [1; 4096]].concat())].into());
}

#[test]
fn any_set_of_the_changes_of_each_folder_survives() {
    let disk = SimulatedDisk::new(1);
    disk.make_folder("wal").unwrap();
    disk.sync_folder("").unwrap();
    for name in ["a", "b", "wal/1"] {
        make(&disk, name);
    }
    disk.rename("a", "c").unwrap();
    disk.remove("b").unwrap();
    let recording = disk.recording();
    let point = recording.at(recording.len());
    let found: BTreeSet<String> = point
        .all_choices()
        .map(|choice| {
            let state = point.state(&choice);
            [state.list("").unwrap(), state.list("wal").unwrap()].concat().join(" ")
        })
        .collect();
    let top = ["wal", "a wal", "b wal", "a b wal", "c wal", "b c wal"];
    assert_eq!(found, top.iter().flat_map(|top| [top.to_string(), format!("{top} 1")]).collect());
    disk.sync_folder("").unwrap();
    assert_eq!(crash(&disk, false).list("").unwrap(), ["c", "wal"]);
}

#[test]
fn a_synced_file_without_a_durable_name_is_gone() {
    let disk = SimulatedDisk::new(1);
    disk.make_folder("wal").unwrap();
    let file = make(&disk, "wal/1");
    write_all_at(&*file, b"x", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "wal/1"), [None, Some(b"x".to_vec())].into());
    disk.sync_folder("wal").unwrap();
    assert_eq!(outcomes(&disk, "wal/1"), [None, Some(b"x".to_vec())].into());
    disk.sync_folder("").unwrap();
    assert_eq!(outcomes(&disk, "wal/1"), [Some(b"x".to_vec())].into());
}

#[test]
fn a_rename_over_a_file_leaves_one_of_the_two() {
    let (disk, _) = with_file(b"old");
    let file = make(&disk, "2");
    write_all_at(&*file, b"new", 0).unwrap();
    file.sync().unwrap();
    disk.rename("2", "1").unwrap();
    assert_eq!(outcomes(&disk, "1"), [Some(b"old".to_vec()), Some(b"new".to_vec())].into());
}

#[test]
fn a_lost_sync_shows_what_the_device_never_gets() {
    let (disk, file) = with_file(b"AA");
    write_all_at(&*file, b"B", 0).unwrap();
    disk.fail(once(disk.calls(), FailKind::LostSync));
    assert_eq!(file.sync().unwrap_err().raw_os_error(), EIO);
    assert_eq!(file.sync().map_err(|error| error.kind()), Ok(()));
    assert_eq!(content(&disk, "1").unwrap(), b"BA");
    assert_eq!(outcomes(&disk, "1"), [Some(b"AA".to_vec())].into());
    // A later write reaches the device by a later sync, but does not bring back what was lost.
    write_all_at(&*file, b"CC", 1).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk, "1").unwrap(), b"BCC");
    assert_eq!(outcomes(&disk, "1"), [Some(b"ACC".to_vec())].into());
    assert_eq!(content(&disk.kill(), "1").unwrap(), b"BCC");
    assert_eq!(outcomes(&disk.kill(), "1"), [Some(b"ACC".to_vec())].into());
    // Writing the same bytes again does.
    write_all_at(&*file, b"B", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "1"), [Some(b"BCC".to_vec())].into());
}

#[test]
fn any_one_call_can_fail_and_then_nothing_is_done() {
    let run = |disk: &SimulatedDisk| -> io::Result<()> {
        disk.make_folder("wal")?;
        let file = disk.open("wal/1", Open::Create)?;
        file.allocate(0, 100)?;
        file.write_at(b"xyz", 0)?;
        file.read_at(&mut [0], 0)?;
        file.punch(0, 1)?;
        file.set_size(file.size()? - 1)?;
        file.sync()?;
        file.map(1)?;
        disk.open("LOCK", Open::Create)?;
        disk.lock(true)?.ok();
        disk.rename("wal/1", "wal/2")?;
        disk.list("wal")?;
        disk.remove("wal/2")?;
        disk.sync_folder("wal")
    };
    let whole = SimulatedDisk::new(1);
    run(&whole).unwrap();
    for (kind, number) in [(FailKind::InputOutput, libc::EIO), (FailKind::NoSpace, libc::ENOSPC)] {
        for at in 0..whole.calls() {
            let disk = SimulatedDisk::new(1);
            disk.fail(once(at, kind));
            match run(&disk) {
                Ok(()) => assert_eq!((disk.failed_calls(), kind), (0, FailKind::NoSpace)),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(number));
                    let recording = whole.recording();
                    let before = recording.at(disk.events()).killed();
                    assert_eq!(disk.fingerprint(), before.fingerprint(), "call {at}");
                }
            }
        }
    }
}

#[test]
fn a_failure_from_then_on_stays_until_it_is_cleared() {
    let (disk, file) = with_file(b"old");
    disk.fail(Failure { at: disk.calls() + 1, kind: FailKind::NoSpace, from_then_on: true });
    file.write_at(b"1", 0).unwrap();
    for _ in 0..3 {
        assert_eq!(file.write_at(b"2", 0).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        file.read_at(&mut [0], 0).unwrap();
    }
    disk.clear_failures();
    file.write_at(b"3", 0).unwrap();
}

#[test]
fn an_interrupted_call_succeeds_when_it_is_tried_again() {
    let (disk, file) = with_file(b"old");
    disk.fail(Failure { at: disk.calls(), kind: FailKind::Interrupted, from_then_on: true });
    assert_eq!(file.size().unwrap_err().kind(), io::ErrorKind::Interrupted);
    disk.clear_failures();
    disk.fail(Failure { at: disk.calls(), kind: FailKind::Interrupted, from_then_on: true });
    write_all_at(&*file, b"new", 0).unwrap();
    retry(|| file.sync()).unwrap();
    disk.clear_failures();
    assert_eq!(content(&disk, "1").unwrap(), b"new");
}

#[test]
fn a_short_write_does_half() {
    let (disk, file) = with_file(b"------");
    disk.fail(once(disk.calls(), FailKind::ShortWrite));
    assert_eq!(file.write_at(b"abcd", 1).unwrap(), 2);
    assert_eq!(content(&disk, "1").unwrap(), b"-ab---");
    disk.fail(Failure { at: disk.calls(), kind: FailKind::ShortWrite, from_then_on: true });
    write_all_at(&*file, b"ABCDE", 0).unwrap();
    assert_eq!(content(&disk, "1").unwrap(), b"ABCDE-");
}

#[test]
fn a_kill_keeps_what_was_seen_and_what_was_pending_and_frees_the_lock() {
    let (disk, file) = with_file(b"old");
    make(&disk, "LOCK");
    let _lock = disk.lock(true).unwrap().ok().unwrap();
    assert_eq!(disk.lock(false).unwrap().err().unwrap(), Some(1));
    write_all_at(&*file, b"new", 0).unwrap();
    let after = disk.kill();
    assert_eq!(after.fingerprint(), disk.fingerprint());
    assert_eq!(content(&after, "1").unwrap(), b"new");
    assert!(after.lock(true).unwrap().is_ok());
    assert_eq!(outcomes(&after, "1"), [Some(b"old".to_vec()), Some(b"new".to_vec())].into());
    after.open("1", Open::Write).unwrap().sync().unwrap();
    assert_eq!(outcomes(&after, "1"), [Some(b"new".to_vec())].into());
}

#[test]
fn shared_locks_exclude_only_an_exclusive_one() {
    let disk = SimulatedDisk::new(1);
    assert_eq!(disk.lock(true).err().unwrap().raw_os_error(), Some(libc::ENOENT));
    make(&disk, "LOCK");
    let (first, second) = (disk.lock(false).unwrap().ok(), disk.lock(false).unwrap().ok());
    assert_eq!(disk.lock(true).unwrap().err().unwrap(), None);
    drop((first, second));
    assert!(disk.lock(true).unwrap().is_ok());
}

#[test]
fn two_openings_share_a_file_and_a_removed_one_lives_until_closed() {
    let (disk, file) = with_file(b"old");
    let again = disk.open("1", Open::Write).unwrap();
    write_all_at(&*again, b"new", 0).unwrap();
    disk.remove("1").unwrap();
    disk.sync_folder("").unwrap();
    let mut bytes = [0; 3];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"new");
    write_all_at(&*file, b"still", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk, "1"), None);
    assert_eq!(disk.recording().walk().count(), disk.events() + 1);
    assert_eq!(disk.open("1", Open::Write).err().unwrap().raw_os_error(), Some(libc::ENOENT));
}

/// A recording with most kinds of events, from seeded random calls.
fn busy_disk(seed: u64) -> Arc<SimulatedDisk> {
    let disk = SimulatedDisk::new(seed);
    let mut rng = Rng::new(seed);
    disk.make_folder("data").unwrap();
    for _ in 0..60 {
        let file = match disk.open(["a", "b", "data/1", "data/2"][rng.below(4) as usize], Open::Write) {
            Ok(file) => file,
            Err(_) => make(&disk, ["a", "b", "data/1", "data/2"][rng.below(4) as usize]),
        };
        let (offset, size) = (rng.below(6000), rng.below(3000));
        match rng.below(10) {
            0..4 => write_all_at(&*file, &vec![rng.next() as u8; size as usize], offset).unwrap(),
            4 => file.allocate(offset, size).unwrap(),
            5 => file.punch(offset, size).unwrap(),
            6 => file.set_size(offset).unwrap(),
            7 => drop(disk.rename("a", "b")),
            8 => disk.sync_folder(["", "data"][rng.below(2) as usize]).unwrap(),
            _ => file.sync().unwrap(),
        }
    }
    disk
}

#[test]
fn a_choice_replays_to_the_same_state_also_from_its_text() {
    for seed in 0..20 {
        let (recording, again) = (busy_disk(seed).recording(), busy_disk(seed).recording());
        let mut rng = Rng::new(seed);
        for point in recording.walk() {
            let choice = point.random_choice(&mut rng);
            let replayed: Choice = choice.to_string().parse().unwrap();
            assert_eq!(choice, replayed);
            let (state, other) = (point.state(&choice), again.at(point.index()).state(&replayed));
            assert_eq!(state.fingerprint(), other.fingerprint());
            let mut entropy = [[0; 12]; 2];
            state.entropy(&mut entropy[0]);
            other.entropy(&mut entropy[1]);
            assert_eq!(entropy[0], entropy[1]);
        }
    }
    assert!("units=01 names= tears=x garbage=zeros".parse::<Choice>().is_err());
}

#[test]
fn a_crash_that_loses_nothing_leaves_what_was_seen() {
    for seed in 0..50 {
        for point in busy_disk(seed).recording().walk() {
            let state = point.state(&Choice { garbage: Garbage::Zeros, ..point.choice(true) });
            let seen = point.killed();
            for folder in ["", "data"] {
                assert_eq!(state.list(folder).ok(), seen.list(folder).ok());
            }
            for name in ["a", "b", "data/1", "data/2"] {
                assert_eq!(content(&state, name), content(&seen, name), "seed {seed}, event {}", point.index());
            }
        }
    }
}

/// How long states take: `cargo test --release --features simulation -- --ignored --nocapture crash_states`.
#[test]
#[ignore = "a measurement"]
fn crash_states_are_cheap() {
    let (mut rng, mut states, mut distinct) = (Rng::new(1), 0u32, BTreeSet::new());
    let recordings: Vec<Recording> = (0..50).map(|seed| busy_disk(seed).recording()).collect();
    let start = std::time::Instant::now();
    for point in recordings.iter().flat_map(Recording::walk) {
        for _ in 0..50 {
            drop(point.state(&point.random_choice(&mut rng)));
            states += 1;
        }
    }
    let each = start.elapsed() / states;
    for point in recordings.iter().flat_map(Recording::walk) {
        for _ in 0..50 {
            distinct.insert(point.state(&point.random_choice(&mut rng)).fingerprint());
        }
    }
    println!("{states} states, {each:?} each, {} distinct, {:?} with both", distinct.len(), start.elapsed());
}

#[test]
fn a_crash_state_is_all_durable() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        for point in busy_disk(seed).recording().walk() {
            let state = point.state(&point.random_choice(&mut rng));
            let end = state.recording().at(0);
            assert_eq!(end.pending_sectors(), 0);
            assert_eq!(end.state(&end.choice(false)).fingerprint(), state.fingerprint());
        }
    }
}

#[test]
fn entropy_repeats_for_a_seed_and_differs_after_a_crash_or_a_kill() {
    let draw = |disk: &SimulatedDisk| {
        let mut bytes = [0; 16];
        disk.entropy(&mut bytes);
        bytes
    };
    let (disk, other) = (SimulatedDisk::new(3), SimulatedDisk::new(3));
    let first = draw(&disk);
    assert_eq!(first, draw(&other));
    let all = [first, draw(&disk), draw(&disk.kill()), draw(&disk.kill()), draw(&crash(&disk, true))];
    assert_eq!(BTreeSet::from(all).len(), all.len());
}

#[test]
fn events_are_told_in_words() {
    let (disk, _) = with_file(b"old");
    let recording = disk.recording();
    let words: Vec<String> = (0..=recording.len()).map(|index| recording.describe(index)).collect();
    let expected = ["create 1 as file 0", "write 3 bytes at 0 of file 0", "sync file 0", "sync folder ''", "the end"];
    assert_eq!(words, expected);
}
