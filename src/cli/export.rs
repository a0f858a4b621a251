//! A table becomes a file that import can read back.
//!
//! The file appears whole or not at all: it is written beside its place under another name, synced, and renamed.
//! Where there is a pipe or a device instead of a file, the records simply go into it.

use super::args::{ExportArguments, FileFormat, Format};
use super::failure::{Code, Failure, Result, say};
use super::open::open_to_read;
use super::progress::Progress;
use super::records::{Lookalikes, Style, write_records};
use super::show::results;
use diamonddb::{ScanRange, Table};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes the table to the file.
pub fn export(arguments: &ExportArguments) -> Result<()> {
    let database = open_to_read(&arguments.place.database)?;
    let table = database.table(&arguments.place.table)?;
    let lookalikes = match arguments.file.to_str() {
        Some("-") => write(arguments, &table, true, &mut results())?,
        _ => write_file(arguments, &table)?,
    };
    if arguments.format == FileFormat::Csv && !arguments.quiet {
        lookalikes.note(&arguments.null).into_iter().for_each(say);
    }
    Ok(())
}

fn write_file(arguments: &ExportArguments, table: &Table) -> Result<Lookalikes> {
    let path = &arguments.file;
    let failure = |error: io::Error| unwritable(path, &error);
    // A link stays a link: what it points to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
        let file = OpenOptions::new().write(true).open(&target).map_err(failure)?;
        return write(arguments, table, arguments.quiet, &mut BufWriter::with_capacity(1 << 16, file));
    }
    let draft = Draft::new(&target).map_err(failure)?;
    let mut out = BufWriter::with_capacity(1 << 16, &draft.file);
    let lookalikes = write(arguments, table, arguments.quiet, &mut out)?;
    drop(out);
    draft.publish(&target).map_err(failure)?;
    if !arguments.quiet {
        say(format!("Exported {:?} to {}.", arguments.place.table, path.display()));
    }
    Ok(lookalikes)
}

fn write(arguments: &ExportArguments, table: &Table, quiet: bool, out: &mut dyn Write) -> Result<Lookalikes> {
    let format = match arguments.format {
        FileFormat::Csv => Format::Csv,
        FileFormat::Json => Format::Json,
    };
    let style = Style { format, with_ids: arguments.with_ids, null: &arguments.null, delimiter: arguments.delimiter };
    let progress = Progress::of_records("exporting", table.count()?, quiet);
    write_records(table, ScanRange::default(), u64::MAX, &style, out, |count| progress.reach(count))
}

/// A file that is not yet where it belongs, and goes away unless it gets there.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn new(target: &Path) -> io::Result<Draft> {
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut name = name.to_owned();
        name.push(format!(".exporting-{}", std::process::id()));
        let path = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Draft { path, file })
    }

    fn publish(&self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing there is nothing left of that name.
        let _ = fs::remove_file(&self.path);
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Refused, format!("{} cannot be written: {error}.", path.display()))
}
