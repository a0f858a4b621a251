//! Rows of a CSV file, each with the line of the file on which it starts.
//!
//! What others may rely on:
//!
//! 1. Every column has a name, and no two have the same: a header that breaks this is refused at once.
//! 2. A row that comes out has as many fields as there are columns, and all of them are UTF-8.
//! 3. A line is a line of the file as an editor counts it, from 1, blank lines and line ends inside quotes included.
//!    It ends with `\n`, `\r\n` or `\r` alone, since each of them ends a row.
//!    The csv crate's own count is behind by a line after `\r\n` and by every blank line, so it is not used.

use super::failure::{Code, Failure, Result};
use csv::StringRecord;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The texts that are null unless the user names others.
const NULLS: [&str; 2] = ["", "NA"];

/// How the file is to be read.
pub struct Dialect {
    /// What stands between two fields.
    pub delimiter: u8,
    /// The texts that mean null.
    pub nulls: Vec<String>,
    /// Rows that start before this line are passed over.
    pub from_line: u64,
}

impl Dialect {
    /// `nulls` replace the usual ones, if there are any.
    pub fn new(delimiter: u8, nulls: &[String], from_line: u64) -> Dialect {
        let nulls = match nulls {
            [] => NULLS.map(str::to_owned).to_vec(),
            given => given.to_vec(),
        };
        Dialect { delimiter, nulls, from_line }
    }

    /// Whether this text means null.
    pub fn is_null(&self, text: &str) -> bool {
        self.nulls.iter().any(|null| null == text)
    }
}

/// The file, or standard input.
pub struct Source {
    /// What messages call it.
    pub name: String,
    file: File,
    /// A pipe can be read only once, and has no size.
    size: Option<u64>,
}

impl Source {
    /// Opens the file, so that a wrong name is noticed before anything else is done. `-` is standard input.
    pub fn open(path: &Path) -> Result<Source> {
        let (name, file) = match path.to_str() {
            Some("-") => ("standard input".to_owned(), io::stdin().as_fd().try_clone_to_owned().map(File::from)),
            _ => (path.display().to_string(), File::open(path)),
        };
        let file = file.map_err(|error| Source::unreadable(&name, &error))?;
        let metadata = file.metadata().map_err(|error| Source::unreadable(&name, &error))?;
        if metadata.is_dir() {
            return Err(Failure::new(Code::Input, format!("{name} is a folder, not a CSV file.")));
        }
        // Standard input may stand in the middle of a file that someone else opened: never rewind that.
        let size = (metadata.is_file() && path.to_str() != Some("-")).then_some(metadata.len());
        Ok(Source { name, file, size })
    }

    /// Makes a pipe readable twice, by way of a temporary file that has no name and goes with this process.
    pub fn spool(&mut self) -> Result<()> {
        if self.size.is_some() {
            return Ok(());
        }
        let spooled = nameless_file().and_then(|mut file| {
            let size = io::copy(&mut self.file, &mut file)?;
            Ok((file, size))
        });
        let (file, size) = spooled.map_err(|error| {
            let folder = std::env::temp_dir();
            let message = format!("{} cannot be kept in {}: {error}.", self.name, folder.display());
            Failure::new(Code::Refused, message)
        })?;
        (self.file, self.size) = (file, Some(size));
        Ok(())
    }

    /// How many bytes there are, where that is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The rows from the start; of a pipe, only once.
    pub fn rows(&self, dialect: &Dialect) -> Result<Rows> {
        let file = self.file.try_clone().and_then(|mut file| {
            if self.size.is_some() {
                file.rewind()?;
            }
            Ok(file)
        });
        let file = file.map_err(|error| Source::unreadable(&self.name, &error))?;
        Rows::new(self.name.clone(), Lines::new(BufReader::with_capacity(1 << 16, file)), dialect)
    }

    fn unreadable(name: &str, error: &io::Error) -> Failure {
        Failure::new(Code::Input, format!("{name} cannot be read: {error}."))
    }
}

/// A file in the temporary folder whose name is gone before anyone can open it.
fn nameless_file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("diamonddb-import-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Where a row starts, and why it cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The line on which the row starts.
    pub line: u64,
    /// The column's name, or its number where the header has no such column.
    pub column: String,
    /// The rest of the sentence.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

/// One row that rule 2 holds for.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The line on which it starts.
    pub line: u64,
    /// A text for each column.
    pub texts: &'a StringRecord,
}

/// The rows of a file, one after another.
pub struct Rows<R: BufRead = BufReader<File>> {
    name: String,
    reader: csv::Reader<Lines<R>>,
    columns: Vec<String>,
    from_line: u64,
    record: StringRecord,
}

impl<R: BufRead> Rows<R> {
    /// Reads the header.
    pub fn new(name: String, lines: Lines<R>, dialect: &Dialect) -> Result<Rows<R>> {
        let reader = csv::ReaderBuilder::new()
            .delimiter(dialect.delimiter)
            // Counting fields is left to us: the crate would end at the first row of another length.
            .flexible(true)
            .has_headers(false)
            .from_reader(lines);
        let from_line = dialect.from_line;
        let mut rows = Rows { name, reader, columns: Vec::new(), from_line: 0, record: StringRecord::new() };
        let header = match rows.read()? {
            None => return Err(rows.unusable("is empty: its first row must name the columns".into())),
            Some(Err(bad)) => return Err(rows.unusable(format!(", {bad}"))),
            Some(Ok(_)) => &rows.record,
        };
        let columns: Vec<_> = header.iter().map(str::to_owned).collect();
        check_names(&columns).map_err(|what| rows.unusable(what))?;
        Ok(Rows { columns, from_line, ..rows })
    }

    /// What messages call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the columns (rule 1).
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many bytes of the file have been read.
    pub fn position(&self) -> u64 {
        self.reader.get_ref().bytes
    }

    /// The line after the last row that was read.
    pub fn next_line(&self) -> u64 {
        self.reader.get_ref().line() + 1
    }

    /// The next row, good or bad; `None` at the end. Fails only where the file cannot be read.
    pub fn next(&mut self) -> Result<Option<std::result::Result<Row<'_>, BadRow>>> {
        loop {
            let line = match self.read()? {
                None => return Ok(None),
                Some(Ok(line)) => line,
                Some(Err(bad)) if bad.line < self.from_line => continue,
                Some(Err(bad)) => return Ok(Some(Err(bad))),
            };
            if line < self.from_line {
                continue;
            }
            return Ok(Some(match self.check_count(line) {
                Some(bad) => Err(bad),
                None => Ok(Row { line, texts: &self.record }),
            }));
        }
    }

    /// Reads a row into `record` and says on which line it starts.
    fn read(&mut self) -> Result<Option<std::result::Result<u64, BadRow>>> {
        let mut bytes = std::mem::take(&mut self.record).into_byte_record();
        let more = self.reader.read_byte_record(&mut bytes).map_err(|error| {
            let line = self.next_line();
            self.unusable(format!("cannot be read after line {}: {error}", line - 1))
        })?;
        if !more {
            return Ok(None);
        }
        let inner = bytes.iter().map(count_line_ends);
        let line = self.reader.get_ref().line_of_row(bytes.iter().next_back()) - inner.sum::<u64>();
        match StringRecord::from_byte_record(bytes) {
            Ok(record) => {
                self.record = record;
                Ok(Some(Ok(line)))
            }
            Err(error) => {
                let column = self.column_name(error.utf8_error().field());
                Ok(Some(Err(BadRow { line, column, reason: "the text is not UTF-8.".into() })))
            }
        }
    }

    fn check_count(&self, line: u64) -> Option<BadRow> {
        let (found, wanted) = (self.record.len(), self.columns.len());
        if found == wanted {
            return None;
        }
        let what = if found < wanted { "is missing" } else { "is one too many" };
        let fields = if found == 1 { "field" } else { "fields" };
        let reason = format!("{what}: the row has {found} {fields}, the header {wanted}.");
        Some(BadRow { line, column: self.column_name(found.min(wanted)), reason })
    }

    fn column_name(&self, index: usize) -> String {
        match self.columns.get(index) {
            Some(name) => format!("{name:?}"),
            None => (index + 1).to_string(),
        }
    }

    fn unusable(&self, what: String) -> Failure {
        let space = if what.starts_with(',') { "" } else { " " };
        let end = if what.ends_with('.') { "" } else { "." };
        Failure::new(Code::Input, format!("{}{space}{what}{end}", self.name))
    }
}

fn count_line_ends(text: &[u8]) -> u64 {
    let before = std::iter::once(&0).chain(text);
    text.iter().zip(before).filter(|&(&byte, &before)| ends_line(byte, before)).count() as u64
}

/// Rule 3. Of `\r\n`, the first ends the line, since the CSV reader ends the row there.
fn ends_line(byte: u8, before: u8) -> bool {
    byte == b'\r' || byte == b'\n' && before != b'\r'
}

/// Rule 1.
fn check_names(columns: &[String]) -> std::result::Result<(), String> {
    for (index, name) in columns.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("has no name for column {}: its first row must name every column", index + 1));
        }
        if let Some(other) = columns[..index].iter().position(|earlier| earlier == name) {
            return Err(format!("calls both column {} and column {} {name:?}", other + 1, index + 1));
        }
    }
    Ok(())
}

/// A reader that hands out at most one line a call, so that the line just handed out is the line that the CSV reader
/// above is in: it asks for more only when it has used up what it got (rule 3).
pub struct Lines<R> {
    inner: R,
    bytes: u64,
    line_ends: u64,
    inside_line: bool,
    ended: bool,
    /// The byte last handed out.
    last: u8,
}

impl<R: BufRead> Lines<R> {
    /// Nothing read so far.
    pub fn new(inner: R) -> Lines<R> {
        Lines { inner, bytes: 0, line_ends: 0, inside_line: false, ended: false, last: 0 }
    }

    /// The line on which the row just read ends. A quote that is never closed takes the file's last line end into the
    /// row, which then ends on the empty line behind it.
    fn line_of_row(&self, last_field: Option<&[u8]>) -> u64 {
        let is_open = self.ended && !self.inside_line && last_field.is_some_and(|field| field.ends_with(&[self.last]));
        self.line() + u64::from(is_open)
    }

    /// The line last handed out, from 1.
    fn line(&self) -> u64 {
        self.line_ends + u64::from(self.inside_line)
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.inner.fill_buf()?;
        self.ended = ready.is_empty();
        let ready = &ready[..ready.len().min(buffer.len())];
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let size = ready.iter().position(is_end).map_or(ready.len(), |end| end + 1);
        buffer[..size].copy_from_slice(&ready[..size]);
        self.inner.consume(size);
        if size > 0 {
            let last = buffer[size - 1];
            let before = if size > 1 { buffer[size - 2] } else { self.last };
            self.line_ends += u64::from(ends_line(last, before));
            self.inside_line = !is_end(&last);
            self.last = last;
            self.bytes += size as u64;
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, from_line: u64) -> Result<Rows<&[u8]>> {
        Rows::new("file".into(), Lines::new(text.as_bytes()), &Dialect::new(b',', &[], from_line))
    }

    fn lines_of(text: &str, from_line: u64) -> Vec<(u64, String)> {
        let mut rows = rows(text, from_line).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let row = row.unwrap();
            lines.push((row.line, row.texts[0].to_owned()));
        }
        lines
    }

    #[test]
    fn a_row_knows_the_line_on_which_it_starts() {
        let wanted = [(2, "1"), (4, "x\ny"), (6, "5")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(lines_of("a,b\n1,2\n\n\"x\ny\",4\n5,6", 0), wanted);
        let with_returns: Vec<_> = lines_of("a,b\r\n1,2\r\n\r\n\"x\r\ny\",4\r\n5,6\r\n", 0);
        assert_eq!(with_returns.iter().map(|row| row.0).collect::<Vec<_>>(), [2, 4, 6]);
        assert_eq!(lines_of("\u{feff}\n\na,b\n7,8\n", 0), [(4, "7".to_owned())]);
    }

    #[test]
    fn a_return_alone_ends_a_line_and_a_row() {
        let wanted = [(2, "1"), (4, "x\ry"), (6, "5")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(lines_of("a,b\r1,2\r\r\"x\ry\",4\r5,6", 0), wanted);
        assert_eq!(lines_of("a,b\r1,2\r\n\r\"x\ry\",4\n5,6\r", 3), wanted[1..]);
    }

    #[test]
    fn a_row_whose_quote_is_never_closed_knows_its_line() {
        for (text, line) in [("a\n1\n\"x\n", 3), ("a\n1\n\"x\n\n", 3), ("a\n1\n\n\"x", 4), ("a\n1\n\"x\r\n", 3)] {
            assert_eq!(lines_of(text, 0).last().unwrap().0, line, "{text:?}");
        }
    }

    #[test]
    fn rows_before_the_line_asked_for_are_passed_over() {
        let wanted = [(4, "x\ny"), (6, "5")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(lines_of("a,b\n1,2\n\n\"x\ny\",4\n5,6", 3), wanted);
    }

    #[test]
    fn a_row_of_another_length_names_the_first_column_that_is_wrong() {
        let mut rows = rows("a,b,c\n1,2\n1,2,3,4\n", 0).unwrap();
        let short = rows.next().unwrap().unwrap().unwrap_err();
        assert_eq!(short.to_string(), "line 2, column \"c\": is missing: the row has 2 fields, the header 3.");
        let long = rows.next().unwrap().unwrap().unwrap_err();
        assert_eq!(long.to_string(), "line 3, column 4: is one too many: the row has 4 fields, the header 3.");
        assert!(rows.next().unwrap().is_none());
    }

    #[test]
    fn text_that_is_not_utf8_is_a_bad_row_and_the_next_one_is_read() {
        let bytes: &[u8] = b"a,b\n1,\xff\n3,4\n";
        let mut rows = Rows::new("file".into(), Lines::new(bytes), &Dialect::new(b',', &[], 0)).unwrap();
        let bad = rows.next().unwrap().unwrap().unwrap_err();
        assert_eq!((bad.line, bad.column.as_str()), (2, "\"b\""));
        assert_eq!(rows.next().unwrap().unwrap().unwrap().line, 3);
    }

    #[test]
    fn a_header_names_every_column_once() {
        let refusal = |text| rows(text, 0).err().unwrap().message;
        assert_eq!(refusal(""), "file is empty: its first row must name the columns.");
        assert_eq!(refusal("a,,c\n"), "file has no name for column 2: its first row must name every column.");
        assert_eq!(refusal("a,b,a\n"), "file calls both column 1 and column 3 \"a\".");
    }
}
