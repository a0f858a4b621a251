//! The installed library, with each call that it makes of the system for its files failing: once, and from then on.
//!
//! `tests/c/interposer.c` stands between the library and the C library and fails the call with a given number;
//! `tests/c/faults.c` works on a database, reports what fails, and keeps a record outside of it. Whatever fails: the
//! program ends by itself, with errors reported as errors and no other answer wrong; and the same program without
//! failures opens the database, finds what the record promises, verifies it and goes on.
//!
//! `DIAMOND_FAULTS` says how many failures are visited (a number, or `all`), `DIAMOND_SEED` which, and
//! `DIAMOND_REPLAY` repeats one.

mod kit;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use kit::Folder;
use kit::installed::{compile, compile_preload};
use kit::sampling;

const KINDS: [&str; 5] = ["EIO", "ENOSPC", "EINTR", "SHORT", "ENOMEM"];
const DURABILITIES: [&str; 3] = ["0", "1", "2"];

/// The exit of a program that reported errors.
const REPORTED: i32 = 3;

/// Which calls fail, and in what kind of database.
#[derive(Clone, Copy, Debug)]
struct Setting {
    durability: &'static str,
    threads: bool,
    kind: &'static str,
}

/// One failure.
#[derive(Clone, Copy, Debug)]
struct Place {
    setting: Setting,
    at: u64,
    lasting: bool,
}

/// What the interposer says at the end.
struct Report {
    count: u64,
    struck: u64,
    first: String,
}

struct Programs {
    faults: PathBuf,
    interposer: PathBuf,
}

impl Programs {
    fn command(&self, what: &str, setting: Setting, folder: &Path) -> Command {
        // A hang ends the test and not the machine's day.
        let mut command = Command::new("timeout");
        command.arg("--signal=ABRT").arg("120").arg("env").env_remove("LD_LIBRARY_PATH");
        if what == "work" {
            command.arg(format!("LD_PRELOAD={}", self.interposer.display()));
        }
        command.arg(&self.faults).arg(what).arg(folder.join("db")).arg(folder.join("record"));
        command.arg(setting.durability).arg(if setting.threads { "1" } else { "0" });
        command
    }

    /// Works with a failure, checks without, and says what the failure struck.
    fn visit(&self, place: Place) -> Result<Report, String> {
        let folder = Folder::in_memory();
        fs::create_dir_all(folder.path()).unwrap();
        let report = folder.path().join("report");
        let mut work = self.command("work", place.setting, folder.path());
        work.env("FAULTS_FOLDER", folder.path().join("db")).env("FAULTS_ERROR", place.setting.kind);
        work.env("FAULTS_AT", place.at.to_string()).env("FAULTS_LASTING", u8::from(place.lasting).to_string());
        let worked = work.env("FAULTS_REPORT", &report).output().unwrap();
        if !matches!(worked.status.code(), Some(0 | REPORTED)) {
            return Err(format!("the program does not end as it should: {}", told(&worked)));
        }
        let text = fs::read_to_string(&report).map_err(|error| format!("no report: {error}: {}", told(&worked)))?;
        let mut words = text.trim_end().splitn(3, ' ');
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (count, struck) = (number(), number());
        let first = words.next().unwrap_or_default().to_owned();
        let was_reported = worked.status.code() == Some(REPORTED);
        if was_reported && struck == 0 {
            return Err(format!("errors though nothing failed: {}", told(&worked)));
        }
        let is_error = matches!(place.setting.kind, "EIO" | "ENOSPC");
        if !was_reported && struck > 0 && is_error && matches!(first.as_str(), "fsync" | "fdatasync") {
            return Err(format!("nobody hears of a failed {first}: {}", told(&worked)));
        }
        let checked = self.command("check", place.setting, folder.path()).output().unwrap();
        if checked.status.code() != Some(0) {
            let record = fs::read_to_string(folder.path().join("record")).unwrap_or_default();
            let record = record.lines().collect::<Vec<_>>().join(", ");
            let what = format!("{first} failed, then: {}", told(&worked));
            return Err(format!("what was promised is not there: {}\n{what}\nrecord: {record}", told(&checked)));
        }
        Ok(Report { count, struck, first })
    }
}

/// How a program ended, and what it said.
fn told(output: &Output) -> String {
    let signal = output.status.signal().map_or(String::new(), |signal| format!(" by signal {signal}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}{signal}\n{out}{err}", output.status)
}

fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for threads in [false, true] {
        for durability in DURABILITIES {
            settings.extend(KINDS.map(|kind| Setting { durability, threads, kind }));
        }
    }
    settings
}

impl Place {
    /// `durability:threads:kind:at:lasting`.
    fn read(text: &str) -> Place {
        let parts: Vec<&str> = text.split(':').collect();
        let [durability, threads, kind, at, lasting] = parts[..] else { panic!("{text} is no place") };
        let durability = DURABILITIES.into_iter().find(|known| *known == durability).expect("a durability");
        let kind = KINDS.into_iter().find(|known| *known == kind).expect("a kind of failure");
        let setting = Setting { durability, threads: threads == "1", kind };
        Place { setting, at: at.parse().expect("the call is a number"), lasting: lasting == "1" }
    }

    fn replay(&self) -> String {
        let Place { setting: Setting { durability, threads, kind }, at, lasting } = self;
        format!("DIAMOND_REPLAY={durability}:{}:{kind}:{at}:{}", u8::from(*threads), u8::from(*lasting))
    }
}

#[test]
fn whichever_call_of_the_system_fails_the_promises_are_kept() {
    let programs = Programs { faults: compile("faults.c", "shared"), interposer: compile_preload("interposer.c") };
    let seed = sampling::seed(0x17E7);
    println!("DIAMOND_SEED={seed:#x}");
    if let Some(text) = sampling::replay() {
        let place = Place::read(&text);
        let report = programs.visit(place).unwrap_or_else(|what| panic!("{}\n{what}", place.replay()));
        println!("{} of {} calls failed, the first was {}", report.struck, report.count, report.first);
        return;
    }
    let mut places = Vec::new();
    for setting in settings() {
        let nothing = Place { setting, at: u64::MAX >> 1, lasting: false };
        let report = programs.visit(nothing).unwrap_or_else(|what| panic!("without a failure: {what}"));
        assert!(report.count > 20, "{setting:?}: the interposer sees {} calls", report.count);
        let both = (0..report.count).flat_map(|at| [false, true].map(|lasting| Place { setting, at, lasting }));
        places.extend(both);
    }
    let chosen = sampling::places(places.len() as u64, 250, seed);
    let [next, struck] = [const { AtomicUsize::new(0) }; 2];
    let broken = std::sync::Mutex::new(Vec::new());
    let work = || {
        while let Some(number) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let place = places[*number as usize];
            match programs.visit(place) {
                Ok(report) => struck.fetch_add(usize::from(report.struck > 0), Ordering::Relaxed),
                // All that fails is told, since one cause shows in many places.
                Err(what) => {
                    eprintln!("a failing call breaks a promise; repeat it with {}\n{what}", place.replay());
                    broken.lock().unwrap().push(place.replay());
                    0
                }
            };
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().for_each(|thread| thread.join().expect("failures are collected"));
    });
    let (runs, struck, all) = (chosen.len(), struck.into_inner(), places.len());
    println!("{runs} runs of {all} possible, {struck} of them with a failure");
    assert!(struck * 10 > runs * 9 || runs < 10, "most plans strike a call: {struck} of {runs}");
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "promises were broken; see above: {broken:?}");
}
