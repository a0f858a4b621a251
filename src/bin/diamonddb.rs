//! `diamonddb`, the command-line tool: tables in and out of a database, from a shell or a script.
//!
//! Results go to standard output and nothing else does. Whatever there is to say goes to standard error, as
//! `diamonddb: ` and a sentence. What the exit code means is part of the interface: see `cli::failure`.

#[path = "../cli/mod.rs"]
mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
