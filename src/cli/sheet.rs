//! Rows and columns of text on their way out: as CSV, or aligned for people.
//!
//! An aligned sheet takes its widths from its first rows, so that a long scan starts to print at once and needs no
//! memory; a later text that is wider pushes its row to the right, and nothing is ever cut off.

use super::failure::{Failure, Result};
use std::borrow::Cow;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// How many rows decide the widths.
const MEASURED_ROWS: usize = 1_000;
/// What an aligned sheet shows for a value that is not there.
const NULL: &str = "null";

/// The head of one column.
pub struct Heading {
    /// Its name.
    pub name: String,
    /// Numbers stand below each other with their last digits.
    pub numeric: bool,
}

impl Heading {
    /// A column of words.
    pub fn text(name: impl Into<String>) -> Heading {
        Heading { name: name.into(), numeric: false }
    }

    /// A column of numbers.
    pub fn number(name: impl Into<String>) -> Heading {
        Heading { name: name.into(), numeric: true }
    }
}

/// A sheet under way.
pub enum Sheet<W: Write> {
    /// A header and a row a record.
    Csv {
        /// Quotes what needs it.
        writer: Box<csv::Writer<W>>,
        /// What stands for a value that is not there.
        null: String,
    },
    /// Aligned columns.
    Aligned(Aligned<W>),
}

impl<W: Write> Sheet<W> {
    /// A CSV sheet, its header written.
    pub fn csv(out: W, headings: &[Heading], delimiter: u8, null: &str) -> Result<Sheet<W>> {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(out);
        writer.write_record(headings.iter().map(|heading| &heading.name)).map_err(csv_failure)?;
        Ok(Sheet::Csv { writer: Box::new(writer), null: null.to_owned() })
    }

    /// An aligned sheet.
    pub fn aligned(out: W, headings: Vec<Heading>) -> Sheet<W> {
        Sheet::Aligned(Aligned { out, headings, widths: Vec::new(), waiting: Vec::new() })
    }

    /// One more row, with a text or a null for each heading.
    pub fn row(&mut self, texts: Vec<Option<String>>) -> Result<()> {
        match self {
            Sheet::Csv { writer, null } => {
                writer.write_record(texts.iter().map(|text| text.as_deref().unwrap_or(null))).map_err(csv_failure)
            }
            Sheet::Aligned(aligned) => aligned.row(texts).map_err(|error| Failure::output(&error)),
        }
    }

    /// Whatever is still waiting goes out. A sheet that is only dropped may lose its end.
    pub fn finish(self) -> Result<()> {
        let result = match self {
            Sheet::Csv { mut writer, .. } => writer.flush(),
            Sheet::Aligned(aligned) => aligned.finish(),
        };
        result.map_err(|error| Failure::output(&error))
    }
}

/// An aligned sheet under way.
pub struct Aligned<W> {
    out: W,
    headings: Vec<Heading>,
    /// Empty until enough rows are there to measure.
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
}

impl<W: Write> Aligned<W> {
    fn row(&mut self, texts: Vec<Option<String>>) -> io::Result<()> {
        let cells: Vec<_> = texts.into_iter().map(|text| text.map_or_else(|| NULL.to_owned(), printable)).collect();
        if !self.widths.is_empty() {
            return self.print(&cells);
        }
        self.waiting.push(cells);
        if self.waiting.len() < MEASURED_ROWS { Ok(()) } else { self.start() }
    }

    fn finish(mut self) -> io::Result<()> {
        if self.widths.is_empty() {
            self.start()?;
        }
        self.out.flush()
    }

    /// Measures, and prints the head and all that waited.
    fn start(&mut self) -> io::Result<()> {
        let head: Vec<_> = self.headings.iter().map(|heading| printable(heading.name.clone())).collect();
        let width = |column: usize| {
            let cells = self.waiting.iter().map(|cells| cells[column].width());
            cells.max().unwrap_or(0).max(head[column].width())
        };
        self.widths = (0..head.len()).map(width).collect();
        let rule: Vec<_> = self.widths.iter().map(|&width| "-".repeat(width)).collect();
        self.print(&head)?;
        self.print(&rule)?;
        std::mem::take(&mut self.waiting).iter().try_for_each(|cells| self.print(cells))
    }

    fn print(&mut self, cells: &[String]) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, heading), width) in cells.iter().zip(&self.headings).zip(&self.widths) {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = if heading.numeric { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line.extend([before, cell, after, "  "]);
        }
        writeln!(self.out, "{}", line.trim_end())
    }
}

/// A text on one line, and one that cannot steer the terminal.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = |character: char| match character.is_control() {
        true => Cow::Owned(character.escape_default().to_string()),
        false => Cow::Owned(character.to_string()),
    };
    text.chars().map(escaped).collect()
}

fn csv_failure(error: csv::Error) -> Failure {
    // The crate's own conversion hides the kind of the error, and with it a reader that went away.
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Failure::output(&error),
        other => Failure::output(&io::Error::other(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let mut bytes = Vec::new();
        let mut sheet =
            Sheet::aligned(&mut bytes, vec![Heading::number("id"), Heading::text("name"), Heading::text("x")]);
        sheet.row(texts(&["0", "Zīr Āb", "a"])).unwrap();
        sheet.row(texts(&["1000", "東京", "b\n\u{1b}"])).unwrap();
        sheet.row(vec![None, None, None]).unwrap();
        sheet.finish().unwrap();
        let wanted = [
            "  id  name    x",
            "----  ------  ---------",
            "   0  Zīr Āb  a",
            "1000  東京    b\\n\\u{1b}",
            "null  null    null",
        ];
        assert_eq!(String::from_utf8(bytes).unwrap().lines().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_later_text_that_is_wider_is_not_cut() {
        let mut bytes = Vec::new();
        let mut sheet = Sheet::aligned(&mut bytes, vec![Heading::text("name"), Heading::text("x")]);
        for _ in 0..MEASURED_ROWS {
            sheet.row(texts(&["a", "b"])).unwrap();
        }
        sheet.row(texts(&["far too long", "b"])).unwrap();
        sheet.finish().unwrap();
        assert!(String::from_utf8(bytes).unwrap().ends_with("\na     b\nfar too long  b\n"));
    }

    #[test]
    fn csv_quotes_what_needs_it_and_writes_nulls_as_told() {
        let mut bytes = Vec::new();
        let mut sheet = Sheet::csv(&mut bytes, &[Heading::text("a"), Heading::text("b")], b';', "NA").unwrap();
        sheet.row(vec![Some("x;\"y".into()), None]).unwrap();
        sheet.finish().unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "a;b\n\"x;\"\"y\";NA\n");
    }
}
