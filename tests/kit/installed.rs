//! The library as a C programmer gets it: installed by make, found by pkg-config, and programs compiled against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of this test run's own, empty.
pub fn fresh_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Runs it to its end and insists on success. `cargo test` puts the folder of an older build on LD_LIBRARY_PATH,
/// where it would win over what was just installed, so that goes.
pub fn run(command: &mut Command) -> Output {
    let output = command.env_remove("LD_LIBRARY_PATH").output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    output
}

pub fn text_of(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("it writes UTF-8")
}

/// The prefix of an installation, made once.
pub fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = fresh_folder("prefix");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in the target folder");
        let mut make = Command::new("make");
        make.current_dir(root()).args(["-s", "install"]);
        make.arg(format!("PREFIX={}", prefix.display())).arg(format!("CARGO={}", env!("CARGO")));
        make.arg(format!("TARGET={}", target.display())).env_remove("MAKEFLAGS").env_remove("DESTDIR");
        run(&mut make);
        prefix
    })
}

pub fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig")).args(arguments).arg("diamonddb");
    text_of(&mut command).split_whitespace().map(str::to_owned).collect()
}

/// What a program is linked with: the shared library, found again at run time, or the static one.
fn link_flags(kind: &str) -> Vec<String> {
    let library = prefix().join("lib");
    match kind {
        "static" => {
            let mut flags = vec![library.join("libdiamonddb.a").display().to_string()];
            let private = pkg_config(&["--static", "--libs"]);
            flags.extend(private.into_iter().filter(|flag| flag != "-ldiamonddb"));
            flags
        }
        _ => {
            let mut flags = pkg_config(&["--libs"]);
            flags.push(format!("-Wl,-rpath,{}", library.display()));
            flags
        }
    }
}

/// Compiles a program of `tests/c`.
pub fn compile(source: &str, kind: &str) -> PathBuf {
    let (compiler, standard) = if source.ends_with(".cpp") { ("g++", "-std=c++17") } else { ("gcc", "-std=c99") };
    let program = fresh_folder(&format!("{source}.{kind}.program")).join("program");
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"]).args(pkg_config(&["--cflags"]));
    command.arg(root().join("tests/c").join(source)).arg("-o").arg(&program);
    run(command.args(link_flags(kind)).arg("-lpthread"));
    program
}

/// Compiles a shared object of `tests/c`, to be preloaded into programs.
pub fn compile_preload(source: &str) -> PathBuf {
    let object = fresh_folder(&format!("{source}.preload")).join("preload.so");
    let mut command = Command::new("gcc");
    command.args(["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-shared", "-fPIC"]);
    run(command.arg(root().join("tests/c").join(source)).arg("-o").arg(&object).args(["-ldl", "-lpthread"]));
    object
}
