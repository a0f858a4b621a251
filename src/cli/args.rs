//! What may stand on the command line. The order is always the same: file (import), database, table, the rest.

use super::failure::EXIT_CODES;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// The tool of DiamondDB: tables of fixed-width records, in and out of a database folder.
#[derive(Debug, Parser)]
#[command(name = "diamonddb", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Read a CSV file into a table; a new table appears whole or not at all
    Import(ImportArguments),
    /// Print one record
    Get(GetArguments),
    /// Print records in the order of their ids
    Scan(ScanArguments),
    /// Print a table's schema as JSON, as import's --schema takes it
    Schema(SchemaArguments),
    /// List the tables
    Tables(TablesArguments),
    /// Print the database's statistics as JSON
    Stats(DatabaseArguments),
    /// Read everything and check every sum; exit code 5 if there is damage
    Verify(DatabaseArguments),
    /// Read what verifies in a damaged database into a new one; exit code 5 if anything is lost
    Salvage(SalvageArguments),
    /// Write a table to a CSV or JSON file that import can read back
    Export(ExportArguments),
    /// Copy the database to another folder, which opens as it is; a copy appears whole or not at all
    Backup(BackupArguments),
    /// Serve the database over HTTP to programs of this machine, to try it with
    Serve(ServeArguments),
}

/// Which table of which database.
#[derive(Args, Debug)]
pub struct Place {
    /// The database folder
    #[arg(value_name = "DB")]
    pub database: PathBuf,
    /// The table's name
    #[arg(value_name = "TABLE")]
    pub table: String,
}

/// `stats` and `verify`.
#[derive(Args, Debug)]
pub struct DatabaseArguments {
    /// The database folder
    #[arg(value_name = "DB")]
    pub database: PathBuf,
}

/// `import`.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// The CSV file, its first row naming the columns; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to; both database and table are made if missing
    #[command(flatten)]
    pub place: Place,
    /// The schema of a new table, as JSON or as @FILE; without it, it is guessed from the data and shown
    #[arg(long, value_name = "JSON|@FILE")]
    pub schema: Option<String>,
    /// A text that means null, instead of NA and the empty text; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub null: Vec<String>,
    /// What stands between two fields: one ASCII character, or \t
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    pub delimiter: u8,
    /// Pass over the rows that start before this line of the file (the header is read all the same)
    #[arg(long, value_name = "LINE", default_value_t = 0)]
    pub from_line: u64,
    /// Leave bad rows out and count them, instead of stopping at the first
    #[arg(long)]
    pub skip_bad: bool,
    /// Say nothing unless it fails
    #[arg(long, short)]
    pub quiet: bool,
}

/// `get`.
#[derive(Args, Debug)]
pub struct GetArguments {
    /// Where from
    #[command(flatten)]
    pub place: Place,
    /// The record's id
    #[arg(value_name = "ID")]
    pub id: u64,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
}

/// `scan`.
#[derive(Args, Debug)]
pub struct ScanArguments {
    /// Where from
    #[command(flatten)]
    pub place: Place,
    /// How to print the records
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The lowest id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub from: u64,
    /// The id before which to end
    #[arg(long, value_name = "ID", default_value_t = u64::MAX, hide_default_value = true)]
    pub to: u64,
    /// At most so many records
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    pub limit: u64,
    /// From the highest id down
    #[arg(long)]
    pub reverse: bool,
}

/// `schema`.
#[derive(Args, Debug)]
pub struct SchemaArguments {
    /// Of which table
    #[command(flatten)]
    pub place: Place,
    /// Print instead where each field lies in a record
    #[arg(long)]
    pub layout: bool,
}

/// `tables`.
#[derive(Args, Debug)]
pub struct TablesArguments {
    /// The database folder
    #[arg(value_name = "DB")]
    pub database: PathBuf,
    /// How to print the list
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// `salvage`.
#[derive(Args, Debug)]
pub struct SalvageArguments {
    /// The damaged database folder, which is only read
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// The folder of the new database, which must be missing or empty
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// Write all that is lost to this new file, an object a line
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Also take records from pages that match no checksum, if they fit their table's schema; they may be wrong
    #[arg(long)]
    pub unverified: bool,
    /// Name no losses on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// `export`.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// Where from
    #[command(flatten)]
    pub place: Place,
    /// The file to write, whole or not at all; - is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// How to write the records
    #[arg(long, value_enum, default_value_t = FileFormat::Csv)]
    pub format: FileFormat,
    /// Write the ids too, first in each row
    #[arg(long)]
    pub with_ids: bool,
    /// The text that stands for null in CSV
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub null: String,
    /// What stands between two fields of CSV: one ASCII character, or \t
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    pub delimiter: u8,
    /// Say nothing unless it fails
    #[arg(long, short)]
    pub quiet: bool,
}

/// `backup`.
#[derive(Args, Debug)]
pub struct BackupArguments {
    /// The database folder
    #[arg(value_name = "DB")]
    pub database: PathBuf,
    /// The folder of the copy: empty, or not there yet
    #[arg(value_name = "DEST")]
    pub target: PathBuf,
    /// Say nothing unless it fails
    #[arg(long, short)]
    pub quiet: bool,
}

/// `serve`.
#[derive(Args, Debug)]
pub struct ServeArguments {
    /// The database folder, made if missing
    #[arg(value_name = "DB")]
    pub database: PathBuf,
    /// The port, instead of PORT in the environment or 2020; 0 takes a free one and prints it
    #[arg(long)]
    pub port: Option<u16>,
    /// The address to listen at; any but a loopback address needs a token
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
    /// What an answered save survives
    #[arg(long, value_enum, default_value_t = ServedDurability::Os)]
    pub durability: ServedDurability,
    /// A file with the token that every request has to bear; without it, DIAMOND_TOKEN in the environment counts
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Let web pages of this origin in, such as http://localhost:3000; may be given several times
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub cors: Vec<String>,
    /// How many seconds a request's head, its body and its answer may each be on their way
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub deadline: u64,
    /// Write no line for each request
    #[arg(long, short)]
    pub quiet: bool,
}

/// What an answered save survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServedDurability {
    /// A power cut
    Sync,
    /// A kill -9 of the server
    Os,
    /// Neither, until the next second or the stop
    Async,
}

/// How to print records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    Table,
    /// A header and a row a record
    Csv,
    /// An object a line
    Json,
}

/// How to write records to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// A header and a row a record
    Csv,
    /// An object a line
    Json,
}

/// One character that CSV can be split at.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [b'"' | b'\r' | b'\n' | 0] => Err("quotes, line ends and NUL have a meaning of their own in CSV".into()),
        [character] if character.is_ascii() => Ok(*character),
        _ => Err("a delimiter is one ASCII character, or \\t".into()),
    }
}

/// An origin as browsers name it: `http://localhost:3000`.
fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err("* would let every page of the web in; name each origin".into());
    }
    let right = || format!("{text:?} is no origin; one is like http://localhost:3000, without a path");
    let (scheme, host) = text.split_once("://").ok_or_else(right)?;
    let known = ["http", "https"].contains(&scheme);
    match known && !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte)) {
        // Browsers send it in lower case.
        true => Ok(text.to_ascii_lowercase()),
        false => Err(right()),
    }
}
