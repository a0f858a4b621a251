//! The C header is what `src/ffi` says, every compiler takes it, and it hides and shows what it should.
//!
//! The header is the conventions (the `//!` lines of `src/ffi/mod.rs`), then a section for each file that is a noun:
//! its `//!` lines, then what cbindgen makes of it. Write it anew with
//!
//! ```text
//! DIAMOND_WRITE_HEADER=1 cargo test --test header
//! ```

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "kit/c_header.rs"]
mod c_header;

use c_header::{Header, without_comments};

const HEADER: &str = "include/diamonddb.h";

/// The files with a section of their own, in the order of the header; the rest of `src/ffi` is not for C.
const SECTIONS: [&str; 8] = ["status", "module", "database", "table", "batch", "cursor", "snapshot", "pin"];
const INNER: [&str; 3] = ["mod", "borrow", "guard"];

/// What stands above the conventions.
const TOP: &str = r#"/* DiamondDB {version}: the C interface and its manual.
   Generated from src/ffi by tests/header.rs; change it there. */
#ifndef DIAMONDDB_H
#define DIAMONDDB_H

#include <stddef.h>
#include <stdint.h>

#define DIAMOND_VERSION "{version}"
#define DIAMOND_VERSION_MAJOR {major}
#define DIAMOND_VERSION_MINOR {minor}
#define DIAMOND_VERSION_PATCH {patch}

"#;

/// Exports without a guard: none of them can panic, and none returns a status.
const UNGUARDED: [&str; 4] = ["diamond_error_message", "diamond_free", "diamond_version", "diamond_abi_version"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source(module: &str) -> String {
    let path = root().join("src/ffi").join(module).with_extension("rs");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_header_is_what_the_source_says() {
    let path = root().join(HEADER);
    let made = make_header();
    if std::env::var_os("DIAMOND_WRITE_HEADER").is_some() {
        fs::write(&path, &made).expect("the header can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let stale = made.lines().zip(found.lines()).position(|(made, found)| made != found);
    assert!(
        made == found,
        "{HEADER} is stale from line {}.\nWrite it anew: DIAMOND_WRITE_HEADER=1 cargo test --test header",
        stale.unwrap_or(made.lines().count().min(found.lines().count())) + 1
    );
}

fn make_header() -> String {
    let mut header = TOP
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{major}", env!("CARGO_PKG_VERSION_MAJOR"))
        .replace("{minor}", env!("CARGO_PKG_VERSION_MINOR"))
        .replace("{patch}", env!("CARGO_PKG_VERSION_PATCH"));
    let front = source("mod");
    write!(header, "/*\n{}*/\n\n", starred(&module_comment(&front))).expect("a String takes all");
    header += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n";
    for module in SECTIONS {
        header += &section(module);
    }
    header += "\n#ifdef __cplusplus\n}\n#endif\n\n#endif /* DIAMONDDB_H */\n";
    header
}

/// The `//!` lines at the top of a file, without the fences that tell rustdoc what is no Rust.
fn module_comment(source: &str) -> Vec<&str> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.filter(|line| !line.starts_with(" ```")).map(|line| line.strip_prefix(' ').unwrap_or(line)).collect()
}

fn starred(lines: &[&str]) -> String {
    lines.iter().map(|line| format!(" * {line}").trim_end().to_owned() + "\n").collect::<String>() + " "
}

fn section(module: &str) -> String {
    let text = source(module);
    let comment = module_comment(&text);
    let (title, rest) = comment.split_first().expect("a section has a title");
    let rule = "=".repeat(112 - title.chars().count());
    let mut section = format!("\n\n/* {title} {rule}");
    if rest.iter().any(|line| !line.is_empty()) {
        write!(section, "\n{}", starred(rest)).expect("a String takes all");
    } else {
        section.push(' ');
    }
    section += "*/\n\n";
    section + tidy(&generated(module)).trim() + "\n"
}

/// What cbindgen makes of one file. Types of other files it leaves as they are called, which is their C name.
fn generated(module: &str) -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let path = root().join("src/ffi").join(module).with_extension("rs");
    let bindings = cbindgen::Builder::new().with_config(config).with_src(path).generate().expect("cbindgen takes it");
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    String::from_utf8(bytes).expect("the source is UTF-8")
}

/// Takes the names of enums of constants away, gives structs a tag, puts short comments on one line and long
/// signatures on several.
fn tidy(generated: &str) -> String {
    let lines = generated.lines().collect::<Vec<_>>();
    let mut tidied = String::new();
    let mut index = 0;
    while index < lines.len() {
        let name_ahead = || {
            let end = lines[index..].iter().find_map(|line| line.strip_prefix("} ")?.strip_suffix(';'));
            end.expect("a typedef ends in its name")
        };
        let mut taken = 1;
        match lines[index] {
            "typedef enum {" => tidied += "enum {",
            "typedef struct {" => write!(tidied, "typedef struct {} {{", name_ahead()).expect("a String takes all"),
            line if line.starts_with("} anonymous_") => tidied += "};",
            line => match short_comment(&lines[index..]) {
                Some(comment) => {
                    tidied += &comment;
                    taken = 3;
                }
                None => tidied += &wrapped(line),
            },
        }
        tidied.push('\n');
        index += taken;
    }
    tidied
}

/// A signature as lines of at most 112 columns, broken between arguments.
fn wrapped(line: &str) -> String {
    if line.len() <= 112 || line.trim_start().starts_with(['*', '/']) {
        return line.to_owned();
    }
    let (mut wrapped, mut width) = (String::new(), 0);
    for (index, argument) in line.split(", ").enumerate() {
        let breaks = index > 0 && width + 2 + argument.len() > 112;
        wrapped += if breaks {
            ",\n    "
        } else if index > 0 {
            ", "
        } else {
            ""
        };
        width = if breaks { 4 } else { width + 2 } + argument.len();
        wrapped += argument;
    }
    wrapped
}

/// `/**`, one line, `*/` as one line, where that is not too long.
fn short_comment(lines: &[&str]) -> Option<String> {
    let [open, text, close, ..] = lines else { return None };
    let indent = open.strip_suffix("/**")?;
    let text = text.trim_start().strip_prefix("* ")?;
    let comment = format!("{indent}/** {text} */");
    (close.trim() == "*/" && comment.chars().count() <= 120).then_some(comment)
}

/// Compiles a program that uses the header with every given standard of one language.
fn compile(compiler: &str, language: &str, standards: &[&str]) {
    let include = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("header_{language}"));
    fs::create_dir_all(&include).expect("the folder can be made");
    fs::write(include.join("diamonddb.h"), make_header()).expect("the header can be written");
    let program = include.join(format!("header.{language}"));
    let text = r#"
#include <diamonddb.h>
#include <diamonddb.h>
#if DIAMOND_ABI_VERSION < 1
#error no version
#endif
int main(void) { diamond_status status = DIAMOND_STATUS_OK; return (int)status; }
"#;
    fs::write(&program, text).expect("the program can be written");
    for standard in standards {
        let run = Command::new(compiler)
            .args([&format!("-std={standard}"), "-Wall", "-Wextra", "-pedantic-errors", "-Werror", "-fsyntax-only"])
            .arg("-I")
            .arg(&include)
            .arg(&program)
            .output()
            .unwrap_or_else(|error| panic!("{compiler} cannot be run: {error}"));
        assert!(run.status.success(), "{compiler} -std={standard}:\n{}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn c_from_c99_on_takes_the_header() {
    compile("gcc", "c", &["c99", "c11", "c17", "c2x"]);
}

#[test]
fn cpp_from_cpp11_on_takes_the_header() {
    compile("g++", "cpp", &["c++11", "c++14", "c++17", "c++20"]);
}

/// The names of the exports of one file, each with the text up to the next.
fn exports(text: &str) -> Vec<(&str, &str)> {
    let start = "pub unsafe extern \"C\" fn ";
    let parts = text.split(start).skip(1);
    parts.map(|part| part.split_at(part.find('(').expect("a function has arguments"))).collect()
}

#[test]
fn every_export_is_guarded_under_its_own_name() {
    let mut count = 0;
    for module in SECTIONS.iter().chain(&INNER) {
        let text = source(module);
        let guarded = exports(&text);
        assert_eq!(text.matches("#[unsafe(no_mangle)]").count(), guarded.len(), "{module}.rs: each export in one form");
        for (name, body) in guarded {
            count += 1;
            assert!(name.starts_with("diamond_"), "{name}");
            let body = &body[body.find('{').expect("an export has a body")..];
            let first = body[1..].trim_start();
            let guard = format!("guard(\"{name}\", |call| {{");
            let hot = format!("guard_hot(\n        \"{name}\",\n");
            let guarded = [&guard, &hot].iter().any(|guard| first.starts_with(*guard));
            assert!(guarded || UNGUARDED.contains(&name), "{name} begins with {guard}");
        }
    }
    assert!(count > 50, "only {count} exports were found");
}

#[test]
fn every_file_of_the_c_face_is_looked_at() {
    let files = fs::read_dir(root().join("src/ffi")).expect("src/ffi is there");
    for file in files {
        let path = file.expect("src/ffi can be read").path();
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("names are text").to_owned();
        assert!(SECTIONS.contains(&&*module) || INNER.contains(&&*module), "{module}.rs: a section, or not for C?");
    }
}

#[test]
fn only_names_of_ours_are_in_the_header() {
    let header = make_header();
    let code = without_comments(&header);
    for word in code.split(|c: char| !c.is_alphanumeric() && c != '_') {
        let ours = word.starts_with("diamond_") || word.starts_with("DIAMOND");
        assert!(ours || !word.contains("anonymous"), "{word} leaks");
        assert!(ours || word.chars().all(|c| !c.is_uppercase()) || "C0123456789UINTX".contains(word), "{word} leaks");
        assert!(!["usize", "u64", "u32", "i32", "u8", "Option", "Self"].contains(&word), "{word} leaks");
    }
    for (number, line) in header.lines().enumerate() {
        assert!(line.chars().count() <= 120, "line {} is too long", number + 1);
    }
}

#[test]
fn every_name_of_ours_that_the_manual_says_is_declared() {
    let header = make_header();
    let code = without_comments(&header);
    let words = |text| str::split(text, |c: char| !c.is_alphanumeric() && c != '_');
    for name in words(&header).filter(|word| word.starts_with("diamond_") || word.starts_with("DIAMOND_")) {
        // DIAMOND_OPEN_... says all that begin so.
        let is_declared = |word: &str| word == name || name.ends_with('_') && word.starts_with(name);
        assert!(words(&code).any(is_declared), "{name} is said and not declared; cbindgen.toml lists its enum");
    }
}

#[test]
fn every_export_is_in_the_header_and_nothing_else_is() {
    let sources = SECTIONS.map(source);
    let mut exported = sources.iter().flat_map(|text| exports(text)).map(|(name, _)| name).collect::<Vec<_>>();
    exported.sort_unstable();
    assert_eq!(declared_functions(), exported);
}

fn declared_functions() -> Vec<String> {
    let mut names: Vec<String> = Header::parse(&make_header()).functions.into_iter().map(|it| it.name).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_shared_library_shows_only_names_of_ours() {
    // `cargo test` builds the library that belongs to this test into the folder above the test itself.
    let test = std::env::current_exe().expect("the test knows itself");
    let library = test.ancestors().nth(1).expect("the test is in a folder").join("libdiamonddb.so");
    if !library.exists() {
        return; // tests/c_abi.rs looks at the installed one.
    }
    let run = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().expect("nm can be run");
    let text = String::from_utf8(run.stdout).expect("nm writes text");
    let mut shown = text.lines().filter_map(|line| line.split_whitespace().last()).collect::<Vec<_>>();
    shown.sort_unstable();
    assert_eq!(shown, declared_functions());
}
