//! Processes killed by `kill -9` while they write, time and again on the same folder, and an outside record of what
//! was acknowledged to them.
//!
//! A process is killed while it opens, recovers, writes or makes a checkpoint; every second one is followed by
//! another process that has to recover what the first left, with other options.
//!
//! `DIAMOND_ROUNDS` is the number of kills in each durability mode (300 if not given), `DIAMOND_SEED` the first seed.

mod kit;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use diamonddb::{Database, Durability};
use kit::Folder;
use kit::writer::{self, Random, Witness};

/// A folder is used for so many kills; then a new one, so that the making of a database is met as well.
const KILLS_PER_FOLDER: u64 = 25;

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn durability_from(text: &str) -> Durability {
    match text {
        "sync" => Durability::Sync,
        "os" => Durability::Os,
        "async" => Durability::Async,
        other => panic!("there is no durability {other}"),
    }
}

/// What the killed processes do.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var("KILL_FOLDER") else { return };
    let number = |name| number_from_env(name, 0);
    let durability = durability_from(&std::env::var("KILL_DURABILITY").unwrap());
    writer::write_until_killed(Path::new(&folder), number("KILL_SEED"), durability, number("KILL_ROUND"));
}

/// One process, from its start to its violent end; what it says goes to the witness.
fn live_and_die(folder: &Path, mode: &str, seed: u64, round: u64, witness: &mut Witness) {
    let mut random = Random::new(round ^ 0x4B11);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env("KILL_FOLDER", folder)
        .env("KILL_DURABILITY", mode)
        .env("KILL_SEED", seed.to_string())
        .env("KILL_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // It is killed after it has said so much, and a moment later: during its opening or anywhere behind.
    let patience = if random.below(4) == 0 { 1 } else { 4 + random.below(300) };
    let told = lines.by_ref().filter(|line| !line.is_empty() && !line.starts_with("running"));
    told.take(patience as usize).for_each(|line| witness.hear(&line));
    std::thread::sleep(Duration::from_micros(random.below(3000)));
    child.kill().unwrap();
    // What it said and nobody had heard yet counts as well.
    lines.for_each(|line| witness.hear(&line));
    let end = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&end.stderr);
    assert!(!complaint.contains("panicked"), "seed {seed}, round {round}: the process died by itself:\n{complaint}");
}

fn kill_many(mode: &str) {
    let durability = durability_from(mode);
    let kills = number_from_env("DIAMOND_ROUNDS", 300);
    let first = number_from_env("DIAMOND_SEED", 1);
    let (mut killed, mut acknowledged) = (0, 0);
    for seed in first.. {
        let (folder, mut witness) = (Folder::new(), Witness::new(durability));
        for round in 0..KILLS_PER_FOLDER.min(kills - killed) {
            let round = seed * 1000 + round;
            live_and_die(folder.path(), mode, seed, round, &mut witness);
            killed += 1;
            if Random::new(round ^ 0x0E4).below(2) == 0 {
                let db = Database::open(folder.path(), &writer::options(durability, round + 500)).unwrap();
                witness.judge(writer::steps_found(&db, seed));
                db.close().unwrap();
            }
        }
        acknowledged += witness.acknowledged;
        if kills > 300 {
            println!("{mode}: seed {seed} done, {killed} kills, {acknowledged} steps acknowledged");
        }
        if killed == kills {
            break;
        }
    }
    println!("{mode}: {killed} kills, {acknowledged} steps acknowledged, none lost that was promised");
    assert!(acknowledged > kills, "the processes got something done before they died");
}

#[test]
fn in_sync_mode_what_a_killed_process_was_told_is_there_and_a_prefix() {
    kill_many("sync");
}

#[test]
fn in_os_mode_what_a_killed_process_was_told_is_there_and_a_prefix() {
    kill_many("os");
}

#[test]
fn in_async_mode_what_a_killed_process_had_flushed_is_there_and_a_prefix() {
    kill_many("async");
}
