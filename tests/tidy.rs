//! The house keeps its order: the floors and rooms that `src/README.md` draws, and what no file may hold.
//!
//! All rules look at text. They see what a reader sees, and need no build of their own.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of the library, lowest floor first: each uses only its own floor and those below.
const FLOORS: [&[&str]; 8] = [
    &["error", "memory", "mutant", "os", "format"],
    &["wal"],
    &["pages"],
    &["table", "log"],
    &["modules"],
    &["database"],
    &["views", "collections"],
    &["ffi"],
];

/// Where `unsafe` may stand: system calls, maps and rare instructions, the copy out of a page, the C face.
const ROOMS: [&str; 8] = [
    "src/os/lock.rs",
    "src/os/map.rs",
    "src/os/process.rs",
    "src/os/processor.rs",
    "src/os/real.rs",
    "src/os/real/",
    "src/pages/copy.rs",
    "src/ffi/",
];

const WIDTH: usize = 120;

/// A text file of the tree, by its path from the top.
struct File {
    name: String,
    text: String,
}

#[test]
fn imports_go_down() {
    let mut wrong = Vec::new();
    for file in library() {
        let Some(own) = floor_of_file(&file.name) else { continue };
        for (number, line) in code(&file.text) {
            for module in modules_named(&line) {
                match floor_of(&module) {
                    Some(floor) if floor <= own => {}
                    Some(_) => wrong.push(format!("{}:{number}: {module} is a floor above", file.name)),
                    None => wrong.push(format!("{}:{number}: {module} is on no floor; name its module", file.name)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    for file in library().filter(|file| file.name != "src/lib.rs") {
        assert!(floor_of_file(&file.name).is_some(), "{} is on no floor", file.name);
    }
}

#[test]
fn the_tool_uses_only_the_public_interface() {
    let wrong = lines_with(tool(), |line| !modules_named(line).is_empty());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let outside = sources().filter(|file| !ROOMS.iter().any(|room| file.name.starts_with(room)));
    let wrong = lines_with(outside, |line| has_word(line, "unsafe") || line.contains("allow(unsafe_code)"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_its_reason() {
    for file in sources() {
        assert!(file.text.starts_with("//! "), "{} does not open with a sentence of what it is", file.name);
    }
}

#[test]
fn the_tour_names_every_file() {
    let tour = fs::read_to_string(top().join("src/README.md")).expect("the tour is there");
    for file in sources() {
        let name = file.name.rsplit('/').next().expect("a path has a last part");
        assert!(tour.contains(name), "src/README.md says nothing of {}", file.name);
    }
}

#[test]
fn lines_fit_the_page() {
    for file in tree().filter(|file| is_written_by_hand(&file.name)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            // A row of a table in Markdown cannot be broken.
            let row = file.name.ends_with(".md") && line.starts_with('|');
            assert!(row || line.chars().count() <= WIDTH, "{}:{number} is over {WIDTH} columns", file.name);
        }
    }
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [concat!("to", "do!"), concat!("un", "implemented!"), concat!("d", "bg!")];
    let rust = tree().filter(|file| file.name.ends_with(".rs"));
    let wrong = lines_with(rust, |line| marks.iter().any(|mark| line.contains(mark)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let folders = [concat!("/", "work"), concat!("/", "root"), concat!("/", "home")];
    for file in tree() {
        for (number, line) in (1..).zip(file.text.lines()) {
            let found = folders.iter().find(|folder| has_path(line, folder));
            assert!(found.is_none(), "{}:{number} names {}", file.name, found.unwrap_or(&""));
        }
    }
}

#[test]
fn the_rules_see_what_they_look_for() {
    assert_eq!(modules_named("use crate::pages::{Edit, cache::Cache};"), ["pages"]);
    assert_eq!(modules_named("use crate::{error::{Error, Result}, os::Disk, table};"), ["error", "os", "table"]);
    assert_eq!(modules_named("let x = crate::format::checksum::xxh3(a) + crate::wal::END;"), ["format", "wal"]);
    assert_eq!(modules_named("use super::super::database::Batch;"), ["database"]);
    assert!(modules_named("use super::super::random;").is_empty());
    assert!(modules_named("use mycrate::pages; let crates = 1;").is_empty());
    assert!(has_word("let a = unsafe { b };", "unsafe"));
    assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
    assert!(has_path(&format!("\"/{}\"", "work/a"), concat!("/", "work")));
    assert!(!has_path("cbench/workloads, src/work/a", concat!("/", "work")));
    let text =
        "let a = 1; // crate::ffi\n/// crate::ffi\n    //\nuse crate::{\n    os,\n    wal,\n};\nlet url = \"a//b\";\n";
    let lines: Vec<(usize, String)> = code(text).collect();
    assert_eq!(lines[1], (4, "use crate::{ os, wal, };".to_owned()));
    assert_eq!(lines.len(), 3);
}

/// The floor of a module, counted from the ground.
fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The floor that a file of the library lies on.
fn floor_of_file(name: &str) -> Option<usize> {
    let module = name.strip_prefix("src/")?.split('/').next()?;
    floor_of(module.strip_suffix(".rs").unwrap_or(module))
}

/// The first parts of all `crate::` paths in a line, and what `super::` leads to if that is called like a module of the
/// top: a way up by another name.
fn modules_named(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, found) in line.match_indices("crate::") {
        if line[..at].ends_with(is_part_of_word) {
            continue;
        }
        let rest = &line[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(heads_of_group(group)),
            None => names.push(head(rest)),
        }
    }
    let above = line.match_indices("super::").map(|(at, found)| head(&line[at + found.len()..]));
    names.extend(above.filter(|name| floor_of(name).is_some()));
    names
}

/// The first parts of the paths in a group, given without its opening brace.
fn heads_of_group(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(head(group[start..at].trim_start()));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn head(path: &str) -> String {
    path.chars().take_while(|character| is_part_of_word(*character)).collect()
}

fn is_part_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part_of_word) && !line[at + word.len()..].starts_with(is_part_of_word))
}

/// True if the folder at the root of a machine is named, and not the end of another path or the start of a word.
fn has_path(line: &str, folder: &str) -> bool {
    let goes_on = |character: char| is_part_of_word(character) || character == '-';
    line.match_indices(folder).any(|(at, _)| {
        !line[..at].ends_with(|before: char| goes_on(before) || ".})*".contains(before))
            && !line[at + folder.len()..].starts_with(goes_on)
    })
}

/// The lines of code with their numbers: no comments, and an import of many lines is one.
fn code(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let comment = line.trim_start().starts_with("//");
        let line = if comment { "" } else { line.split_once("// ").map_or(line, |(code, _)| code) };
        match lines.last_mut() {
            Some((_, import)) if open => *import = format!("{import} {}", line.trim()),
            _ if line.is_empty() => continue,
            _ => lines.push((number, line.to_owned())),
        }
        let last = &lines.last().expect("a line was just added").1;
        let start = last.trim_start().trim_start_matches("pub ");
        open = start.starts_with("use ") && !last.contains(';');
    }
    lines.into_iter()
}

/// `name:number: line` of every line of code that is so.
fn lines_with(files: impl Iterator<Item = File>, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let lines = code(&file.text).filter(|(_, line)| wrong(line));
        found.extend(lines.map(|(number, line)| format!("{}:{number}: {}", file.name, line.trim())));
    }
    found
}

fn is_written_by_hand(name: &str) -> bool {
    let endings = [".rs", ".c", ".h", ".cpp", ".hpp", ".py", ".js", ".ts", ".toml", ".in", ".md", "Makefile", "/run"];
    endings.iter().any(|ending| name.ends_with(ending))
}

/// The files of the library.
fn library() -> impl Iterator<Item = File> {
    sources().filter(|file| !is_tool(&file.name))
}

/// The files of the command-line tool.
fn tool() -> impl Iterator<Item = File> {
    sources().filter(|file| is_tool(&file.name))
}

fn is_tool(name: &str) -> bool {
    name.starts_with("src/cli/") || name.starts_with("src/bin/")
}

fn sources() -> impl Iterator<Item = File> {
    tree().filter(|file| file.name.starts_with("src/") && file.name.ends_with(".rs"))
}

/// All text files, but for what was built or downloaded.
fn tree() -> impl Iterator<Item = File> {
    let mut files = Vec::new();
    gather(top(), &mut files);
    assert!(files.len() > 50, "the tree was found");
    files.into_iter()
}

fn gather(folder: &Path, files: &mut Vec<File>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder can be listed").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(top()).expect("it lies below the top").to_string_lossy().into_owned();
        if path.is_dir() {
            // Cargo marks its folders by the file CACHEDIR.TAG, whatever they are called.
            let built = path.join("CACHEDIR.TAG").exists() || name == "target" || name.ends_with("node_modules");
            if !built && name != ".git" {
                gather(&path, files);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.push(File { name, text });
        }
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
