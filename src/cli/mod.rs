//! The parts of the command-line tool. It uses the public interface of the library and no private way in.
//!
//! ```text
//! args            what may stand on the command line
//! import          a CSV file becomes a table:    input -> guess -> pack -> Table::save_many
//! export          a table becomes a file:        records -> a file that appears whole or not at all
//! backup          a database becomes another folder
//! show            the verbs that only look:      get, scan, schema, tables, stats, verify
//! salvage         a new database from what is left of a damaged one
//! serve           the database over HTTP; serve/mod.rs has its parts
//!   input           rows of a CSV file, each with its line
//!   guess           the schema that a file's own texts suggest
//!   pack, unpack    texts to a packed record, and back
//!   records, sheet  records to JSON, CSV or an aligned table
//!   open            the database, to read or to write
//!   progress        the bar on a terminal
//! failure         messages and exit codes
//! ```

mod args;
mod backup;
mod export;
mod failure;
mod guess;
mod import;
mod input;
mod open;
mod pack;
mod progress;
mod records;
mod salvage;
mod serve;
mod sheet;
mod show;
mod unpack;

use args::{Arguments, Verb};
use clap::Parser;
use failure::{Failure, Result};

/// Does what the command line asks for.
pub fn run() -> Result<()> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and version come this way too, and are results, not failures.
        Err(answer) if !answer.use_stderr() => return answer.print().map_err(|error| Failure::output(&error)),
        Err(refusal) => return Err(Failure::command_line(&refusal)),
    };
    match &arguments.verb {
        Verb::Import(arguments) => import::import(arguments),
        Verb::Export(arguments) => export::export(arguments),
        Verb::Backup(arguments) => backup::backup(arguments),
        Verb::Get(arguments) => show::get(arguments),
        Verb::Scan(arguments) => show::scan(arguments),
        Verb::Schema(arguments) => show::schema(arguments),
        Verb::Tables(arguments) => show::tables(arguments),
        Verb::Stats(arguments) => show::stats(arguments),
        Verb::Verify(arguments) => show::verify(arguments),
        Verb::Salvage(arguments) => salvage::salvage(arguments),
        Verb::Serve(arguments) => serve::serve(arguments),
    }
}
