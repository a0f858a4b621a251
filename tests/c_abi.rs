//! The library as a C programmer gets it: installed by make, found by pkg-config, linked shared and static.
//!
//! The programs are in `tests/c`; each gets a folder of its own, says one line and ends with 0.

mod kit;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kit::installed::{compile, fresh_folder, pkg_config, prefix, run, text_of};

/// Compiles it and runs it, with either library.
fn works(source: &str) {
    for kind in ["shared", "static"] {
        let program = compile(source, kind);
        let mut command = Command::new("timeout");
        command.arg("300").arg(program).arg(fresh_folder(&format!("{source}.{kind}")).join("db"));
        assert!(text_of(&mut command).ends_with(": ok\n"), "{source} says so");
    }
}

#[test]
fn tables_work_from_c() {
    works("tables.c");
}

#[test]
fn batches_work_from_c() {
    works("batches.c");
}

#[test]
fn scans_work_from_c() {
    works("scans.c");
}

#[test]
fn snapshots_work_from_c() {
    works("snapshots.c");
}

#[test]
fn pins_work_from_c() {
    works("pins.c");
}

#[test]
fn stores_and_caches_can_be_written_in_c() {
    works("modules.c");
    for file in ["plain_store.c", "array_cache.c"] {
        let text = fs::read_to_string(kit::installed::root().join("tests/c").join(file)).expect("the file is there");
        assert!(text.lines().count() < 150, "{file} is short enough to be copied");
        if file == "array_cache.c" {
            assert!(include_str!("../README.md").contains(text.trim()), "README.md shows it as it is");
        }
    }
}

#[test]
fn threads_share_handles_in_c() {
    works("threads.c");
}

#[test]
fn a_database_is_backed_up_from_c() {
    works("backup.c");
}

#[test]
fn children_of_a_fork_touch_nothing_and_hold_nothing() {
    works("forks.c");
}

#[test]
fn errors_say_what_is_wrong() {
    works("errors.c");
}

#[test]
fn a_failure_leaves_its_sentence_where_c_looks_for_it() {
    works("border.c");
}

#[test]
fn tables_work_from_cpp() {
    works("tables.cpp");
}

#[test]
fn valgrind_finds_nothing() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is not installed: left out");
        return;
    }
    for source in ["border.c", "tables.c", "batches.c", "scans.c", "snapshots.c", "pins.c", "modules.c"] {
        let program = compile(source, "valgrind");
        let mut command = Command::new("valgrind");
        command.args(["-q", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=9"]);
        run(command.arg(program).arg(fresh_folder(&format!("{source}.valgrind")).join("db")));
    }
}

#[test]
fn an_installation_is_whole_and_shows_only_our_names() {
    let library = prefix().join("lib");
    let version = env!("CARGO_PKG_VERSION");
    let soname = format!("libdiamonddb.so.{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    assert_eq!(fs::read_link(library.join("libdiamonddb.so")).ok(), Some(soname.clone().into()));
    let file = PathBuf::from(format!("libdiamonddb.so.{version}"));
    assert_eq!(fs::read_link(library.join(&soname)).ok(), Some(file.clone()));
    assert_eq!(pkg_config(&["--modversion"]), [version]);
    for part in ["diamonddbConfig.cmake", "diamonddbConfigVersion.cmake"] {
        let text = fs::read_to_string(library.join("cmake/diamonddb").join(part)).expect("CMake files are there");
        assert!(!text.contains("@VERSION@"), "{part} is filled in");
    }

    let dynamic = text_of(Command::new("readelf").arg("-d").arg(library.join(&file)));
    assert!(dynamic.contains(&format!("soname: [{soname}]")), "{dynamic}");
    let symbols = text_of(Command::new("nm").args(["-D", "--defined-only"]).arg(library.join(&file)));
    let names = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect::<Vec<_>>();
    assert!(names.len() > 50, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("diamond_")), "{names:?}");
    let all = text_of(Command::new("nm").arg("-a").arg(library.join(&file)));
    assert!(all.is_empty(), "it is stripped");
}
