//! A database becomes a second one in another folder.
//!
//! The database is opened to read, so nothing is written to it; what a crash left to recover is recovered in memory,
//! and the copy has it in its files. A program that has the database open makes its backup itself: it holds the lock.

use super::args::BackupArguments;
use super::failure::{Result, say};
use super::open::open_to_read;
use super::progress::Progress;
use indicatif::HumanBytes;
use std::ops::ControlFlow;

/// Copies the database.
pub fn backup(arguments: &BackupArguments) -> Result<()> {
    let database = open_to_read(&arguments.database)?;
    let (mut bar, mut size) = (None, 0);
    database.backup(&arguments.target, |done, total| {
        size = total;
        bar.get_or_insert_with(|| Progress::of_bytes("backing up", Some(total), arguments.quiet)).reach(done);
        ControlFlow::Continue(())
    })?;
    drop(bar);
    if !arguments.quiet {
        let (count, target) = (database.tables()?.len(), arguments.target.display());
        let tables = if count == 1 { "table" } else { "tables" };
        say(format!("Backed up {count} {tables}, {} of records, to {target}.", HumanBytes(size)));
    }
    Ok(())
}
