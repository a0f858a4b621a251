//! A new database from what can still be read of a damaged one.
//!
//! Standard output gets the tables of the new database, and what was lost of each. Standard error gets what is lost in
//! sentences, the first few of them; `--report` writes all to a file, an object a line.

use super::args::SalvageArguments;
use super::failure::{Code, Failure, Result, say};
use super::sheet::{Heading, Sheet};
use super::show::results;
use diamonddb::{Loss, SalvageOptions, SalvageReport, salvage as take};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// How many losses are told in sentences.
const NAMED_LOSSES: u64 = 20;

/// Salvages a database. Exit code 5 if anything is lost.
pub fn salvage(arguments: &SalvageArguments) -> Result<()> {
    let mut list = List::open(arguments.report.as_deref())?;
    let options = SalvageOptions { unverified: arguments.unverified };
    let mut count = 0;
    let report = take(&arguments.source, &arguments.target, &options, &mut |loss| {
        count += 1;
        if count <= NAMED_LOSSES && !arguments.quiet {
            say(format!("Lost: {}", sentence(&loss)));
        }
        list.write(&loss);
    })?;
    list.finish()?;
    print(&report)?;
    if report.losses == 0 {
        return Ok(());
    }
    let lost: u64 = report.tables.iter().map(|table| table.lost).sum();
    let more = match (report.losses > NAMED_LOSSES, &arguments.report) {
        (false, _) => "",
        (true, Some(_)) => " The report has all of them.",
        (true, None) => " --report FILE writes all of them.",
    };
    let target = arguments.target.display();
    let message = format!("{target} has what could be read; losses: {count}, with {lost} ids of its tables.{more}");
    Err(Failure::new(Code::Damage, message))
}

/// The file with all losses, if one is wanted. Never one that is there already.
struct List<'a> {
    path: &'a Path,
    out: Option<BufWriter<File>>,
    /// The first failure; nothing is written after it.
    failure: Option<io::Error>,
}

impl List<'_> {
    fn open(path: Option<&Path>) -> Result<List<'_>> {
        let Some(path) = path else { return Ok(List { path: Path::new(""), out: None, failure: None }) };
        let refused = |error| Failure::new(Code::Usage, format!("{} cannot be made: {error}.", path.display()));
        let file = File::create_new(path).map_err(refused)?;
        Ok(List { path, out: Some(BufWriter::new(file)), failure: None })
    }

    fn write(&mut self, loss: &Loss) {
        if let (Some(out), None) = (&mut self.out, &self.failure) {
            self.failure = writeln!(out, "{}", object(loss)).err();
        }
    }

    fn finish(mut self) -> Result<()> {
        let flushed = self.out.as_mut().map_or(Ok(()), |out| out.flush());
        match self.failure.or(flushed.err()) {
            None => Ok(()),
            Some(error) => {
                let message = format!("{} cannot be written: {error}.", self.path.display());
                Err(Failure::new(Code::Refused, message))
            }
        }
    }
}

fn print(report: &SalvageReport) -> Result<()> {
    let headings = ["records", "unverified", "lost_ids"].map(Heading::number);
    let headings = std::iter::once(Heading::text("name")).chain(headings).collect();
    let mut sheet = Sheet::aligned(results(), headings);
    for table in &report.tables {
        let numbers = [table.records, table.unverified, table.lost].map(|number| Some(number.to_string()));
        sheet.row(std::iter::once(Some(table.name.clone())).chain(numbers).collect())?;
    }
    sheet.finish()
}

fn sentence(loss: &Loss) -> String {
    let Loss { file, table, ids, what } = loss;
    let ids = match ids {
        Some((first, last)) if first == last => format!("id {first} of "),
        Some((first, last)) => format!("ids {first} to {last} of "),
        None => String::new(),
    };
    match table {
        Some(table) => format!("{ids}table {table:?} in {file}: {what}"),
        None => format!("{file}: {what}"),
    }
}

fn object(loss: &Loss) -> serde_json::Value {
    let (first, last) = (loss.ids.map(|ids| ids.0), loss.ids.map(|ids| ids.1));
    json!({"file": loss.file, "table": loss.table, "first_id": first, "last_id": last, "what": loss.what})
}
