//! A CSV file becomes a table, or more records of one.
//!
//! What a user may rely on:
//!
//! 1. A new table appears whole or not at all, even if the process is killed. Until its last row is saved it is called
//!    `TABLE.importing-PID`; then it is renamed. The next import of the same table drops what a killed one left.
//! 2. An existing table takes rows in the order of the file, many a commit. Where that stops before the end, the
//!    message says which ids were given and on which line to go on.
//! 3. Nothing is made before the input has been opened, its header checked, and the schema known.

use super::args::ImportArguments;
use super::failure::{Code, Failure, Result, say};
use super::guess::guess;
use super::input::{Dialect, Rows, Source};
use super::open::{open_if_there, open_or_make, table_if_there};
use super::pack::Packer;
use super::progress::Progress;
use diamonddb::{Database, Error, RecordId, Records, Schema, Table};
use std::fs;

/// How many rows go into one commit, if they are not large.
const BATCH_COUNT: usize = 10_000;
/// About how many bytes they may take.
const BATCH_SIZE: usize = 8 << 20;
/// How many bad rows are named; the rest are only counted.
const NAMED_BAD_ROWS: u64 = 5;

/// Reads the file into the table.
pub fn import(arguments: &ImportArguments) -> Result<()> {
    let source = Source::open(&arguments.file)?;
    let given = arguments.schema.as_deref().map(parse_schema).transpose()?;
    let database = open_if_there(&arguments.place.database)?;
    let table = match &database {
        Some(database) => table_if_there(database, &arguments.place.table)?,
        None => None,
    };
    let dialect = Dialect::new(arguments.delimiter, &arguments.null, arguments.from_line);
    let job = Job { arguments, source, dialect };
    match (database, table) {
        (Some(database), Some(table)) => job.into_existing(database, table, given),
        (database, _) => job.into_new(database, given),
    }
}

/// A schema from the command line, or from the file that it names.
fn parse_schema(text: &str) -> Result<Schema> {
    let json = match text.strip_prefix('@') {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Failure::new(Code::Usage, format!("The schema file {path} cannot be read: {error}.")))?,
        None => text.to_owned(),
    };
    Ok(Schema::parse(&json)?)
}

/// One import.
struct Job<'a> {
    arguments: &'a ImportArguments,
    source: Source,
    dialect: Dialect,
}

impl Job<'_> {
    fn into_existing(self, database: Database, table: Table, given: Option<Schema>) -> Result<()> {
        let name = &self.arguments.place.table;
        if given.is_some_and(|given| given != *table.schema()) {
            let message = format!("The table {name:?} exists with another schema: {}", table.schema().to_json());
            return Err(Failure::new(Code::Usage, message));
        }
        let mut rows = self.source.rows(&self.dialect)?;
        let packer = Packer::new(table.layout(), &self.dialect, rows.columns())?;
        self.drop_leftovers(&database)?;
        let loaded = self.load(&mut rows, &packer, &table).map_err(|stop| stop.in_existing())?;
        database.close()?;
        self.report(&loaded);
        Ok(())
    }

    fn into_new(mut self, database: Option<Database>, given: Option<Schema>) -> Result<()> {
        let name = &self.arguments.place.table;
        let schema = match given {
            Some(schema) => schema,
            None => {
                self.source.spool()?;
                self.guess()?
            }
        };
        let mut rows = self.source.rows(&self.dialect)?;
        let packer = Packer::new(schema.layout(), &self.dialect, rows.columns())?;
        let database = match database {
            Some(database) => database,
            None => open_or_make(&self.arguments.place.database)?,
        };
        self.drop_leftovers(&database)?;

        // Rule 1: nobody finds the table under its own name before it is whole.
        let draft = format!("{}{}", draft_prefix(name), std::process::id());
        let made = database.make_table(&draft, &schema).map_err(Failure::from);
        let loaded = made.and_then(|table| self.load(&mut rows, &packer, &table).map_err(|stop| stop.in_new(name)));
        match loaded.and_then(|loaded| Ok(database.rename_table(&draft, name).map(|()| loaded)?)) {
            Ok(loaded) => {
                database.close()?;
                self.report(&loaded);
                Ok(())
            }
            Err(failure) => {
                // If even this fails, the next import drops it.
                let _ = database.drop_table(&draft);
                Err(failure)
            }
        }
    }

    /// Reads the file once for its schema, and shows it.
    fn guess(&self) -> Result<Schema> {
        let mut rows = self.source.rows(&self.dialect)?;
        let progress = Progress::of_bytes("guessing the schema", self.source.size(), self.arguments.quiet);
        let (schema, notes) = guess(&mut rows, &self.dialect, self.arguments.skip_bad, &progress)?;
        progress.say(format!("The schema, guessed from {}, as --schema takes it:\n{}", rows.name(), schema.to_json()));
        notes.iter().for_each(|note| progress.say(note));
        Ok(schema)
    }

    /// Drops what imports of the same table left when they were killed. They cannot be running: only one process
    /// writes to a database, and that is this one.
    fn drop_leftovers(&self, database: &Database) -> Result<()> {
        let prefix = draft_prefix(&self.arguments.place.table);
        for table in database.tables()? {
            let process = table.name.strip_prefix(&prefix);
            if process.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())) {
                database.drop_table(&table.name)?;
                if !self.arguments.quiet {
                    say(format!("Dropped {:?}, left by an import that did not finish.", table.name));
                }
            }
        }
        Ok(())
    }

    /// Saves all rows, or stops and says where.
    fn load(&self, rows: &mut Rows, packer: &Packer<'_>, table: &Table) -> std::result::Result<Loaded, Stop> {
        let progress = Progress::of_bytes("importing", self.source.size(), self.arguments.quiet);
        let mut batch = Batch::new(table, packer.nulls_size());
        let mut loaded = Loaded::default();
        let name = rows.name().to_owned();
        loop {
            progress.reach(rows.position());
            let next_line = rows.next_line();
            let bad = match rows.next() {
                Ok(None) => break,
                Ok(Some(Ok(row))) => {
                    let (record, nulls) = batch.next_record();
                    let packed = packer.pack(row, record, nulls);
                    if packed.is_ok() {
                        batch.keep(row.line);
                    }
                    packed.err()
                }
                Ok(Some(Err(bad))) => Some(bad),
                Err(failure) => {
                    batch.save(&mut loaded)?;
                    return Err(Stop { loaded, line: next_line, failure, doubtful: false });
                }
            };
            match bad {
                Some(bad) if self.arguments.skip_bad => {
                    loaded.skipped += 1;
                    if loaded.skipped <= NAMED_BAD_ROWS {
                        progress.say(format!("Skipped {name}, {bad}"));
                    }
                }
                Some(bad) => {
                    // The good rows before it are saved first, so that the bad one is where to go on.
                    batch.save(&mut loaded)?;
                    let failure = Failure::new(Code::Input, format!("{name}, {bad}"));
                    return Err(Stop { loaded, line: bad.line, failure, doubtful: false });
                }
                None if batch.is_full() => batch.save(&mut loaded)?,
                None => {}
            }
        }
        batch.save(&mut loaded)?;
        Ok(loaded)
    }

    fn report(&self, loaded: &Loaded) {
        if self.arguments.quiet {
            return;
        }
        if loaded.skipped > 0 {
            let named = loaded.skipped.min(NAMED_BAD_ROWS);
            say(format!("Skipped {} in all; {named} of them named above.", counted(loaded.skipped, "bad row")));
        }
        say(format!("Imported {} into {:?}.", loaded.rows(), self.arguments.place.table));
    }
}

/// What a table that is not whole is called, up to the id of the process.
fn draft_prefix(table: &str) -> String {
    format!("{table}.importing-")
}

/// What has been saved so far.
#[derive(Clone, Debug, Default)]
struct Loaded {
    count: u64,
    /// The first id, and the last.
    ids: Option<(RecordId, RecordId)>,
    skipped: u64,
}

impl Loaded {
    fn add(&mut self, first: RecordId, count: u64) {
        let last = RecordId(first.0 + count - 1);
        self.ids = Some((self.ids.map_or(first, |(first, _)| first), last));
        self.count += count;
    }

    /// The count, and the ids if there are any.
    fn rows(&self) -> String {
        let rows = counted(self.count, "row");
        match self.ids {
            Some((first, last)) if first == last => format!("{rows} as id {}", first.0),
            Some((first, last)) => format!("{rows} as ids {} to {}", first.0, last.0),
            None => rows,
        }
    }
}

/// Why an import ended before the file did, and where.
#[derive(Debug)]
struct Stop {
    loaded: Loaded,
    /// The first line that was not saved.
    line: u64,
    failure: Failure,
    /// The rows from `line` may have been saved, and nobody can tell before the database is opened again.
    doubtful: bool,
}

impl Stop {
    /// A new table goes away again.
    fn in_new(self, table: &str) -> Failure {
        let message = format!("{} Nothing was imported: there is no table {table:?}.", self.failure.message);
        Failure { message, ..self.failure }
    }

    /// An existing table keeps what was saved (rule 2).
    fn in_existing(self) -> Failure {
        let Stop { loaded, line, failure, doubtful } = self;
        let skipped = match loaded.skipped {
            0 => String::new(),
            count => format!(" {} before it skipped.", counted(count, "bad row")),
        };
        let end = match doubtful {
            true => format!(
                "Whether the next ones, from line {line}, were saved is not known: \
                 look whether the table goes on after these ids."
            ),
            false => format!("Nothing from line {line} on was saved: go on there with --from-line {line}."),
        };
        let saved = format!("Saved {}.{skipped}", loaded.rows());
        Failure { message: format!("{} {saved} {end}", failure.message), ..failure }
    }
}

/// Packed records that wait for their commit.
struct Batch<'a> {
    table: &'a Table,
    records: Vec<u8>,
    record_size: usize,
    nulls: Vec<u8>,
    nulls_size: usize,
    count: usize,
    capacity: usize,
    /// The lines on which the first and the last of its rows start.
    lines: (u64, u64),
}

impl<'a> Batch<'a> {
    fn new(table: &'a Table, nulls_size: usize) -> Batch<'a> {
        let record_size = table.layout().record_size;
        let capacity = (BATCH_SIZE / record_size.max(1)).clamp(1, BATCH_COUNT);
        Batch {
            table,
            records: vec![0; capacity * record_size],
            record_size,
            nulls: vec![0; capacity * nulls_size],
            nulls_size,
            count: 0,
            capacity,
            lines: (0, 0),
        }
    }

    /// The zeroed place of the next record, which counts only when it is kept.
    fn next_record(&mut self) -> (&mut [u8], &mut [u8]) {
        let record = &mut self.records[self.count * self.record_size..][..self.record_size];
        let nulls = &mut self.nulls[self.count * self.nulls_size..][..self.nulls_size];
        // A bad row may have left something here.
        record.fill(0);
        nulls.fill(0);
        (record, nulls)
    }

    fn keep(&mut self, line: u64) {
        self.lines = (if self.count == 0 { line } else { self.lines.0 }, line);
        self.count += 1;
    }

    fn is_full(&self) -> bool {
        self.count == self.capacity
    }

    /// Commits what waits, if anything does.
    fn save(&mut self, loaded: &mut Loaded) -> std::result::Result<(), Stop> {
        if self.count == 0 {
            return Ok(());
        }
        let records = Records {
            bytes: &self.records[..self.count * self.record_size],
            stride: self.record_size,
            nulls: Some(&self.nulls[..self.count * self.nulls_size]),
            null_stride: self.nulls_size,
            count: self.count,
        };
        let first = self.table.save_many(records).map_err(|error| {
            let (line, last) = self.lines;
            let doubtful = matches!(error, Error::CommitUnknown(_));
            let failure = Failure::from(error);
            // What the library finds wrong with a record is wrong with the input, not with the command line.
            let code = if failure.code == Code::Usage { Code::Input } else { failure.code };
            let message = format!("The rows of lines {line} to {last}: {}", failure.message);
            Stop { loaded: loaded.clone(), line, failure: Failure::new(code, message), doubtful }
        })?;
        loaded.add(first, self.count as u64);
        self.count = 0;
        Ok(())
    }
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
