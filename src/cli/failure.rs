//! How the tool says that something went wrong: one sentence on standard error, and an exit code.
//!
//! A script decides by the code, a person by the sentence. The codes never change their meaning:
//! [`EXIT_CODES`] is what `--help` says about them, [`Code`] is what the tool returns.

use diamonddb::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a verb of the tool returns.
pub type Result<T> = std::result::Result<T, Failure>;

/// The part of `--help` that scripts are written by.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  not there: no such database, table or record
  2  the command line is wrong, or asks for what this table or database does not allow
  3  the input cannot be used: the file, its header, or a row (named by line and column)
  4  the database, the disk or the network refused: locked, full, port in use, failed to read or write
  5  damage: verify found some, a checksum did not match, or salvage could not take everything";

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Done = 0,
    /// No such database, table or record.
    Missing = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The input cannot be used.
    Input = 3,
    /// The database, the disk or the network refused.
    Refused = 4,
    /// Bytes on disk are not what was written.
    Damage = 5,
}

/// Why a verb stopped, and the code to leave with.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// A sentence, without the tool's name. Empty where silence is right.
    pub message: String,
}

impl Failure {
    /// A failure with a sentence of its own.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// The command line as clap refused it, in the form of all other messages.
    pub fn command_line(refusal: &clap::Error) -> Failure {
        let text = refusal.render().to_string();
        Failure::new(Code::Usage, text.strip_prefix("error: ").unwrap_or(&text).trim_end())
    }

    /// Results could not be written. A reader that has seen enough, as in `scan | head`, is no failure.
    pub fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Code::Done, ""),
            _ => Failure::new(Code::Refused, format!("The output cannot be written: {error}.")),
        }
    }

    /// Says the sentence and turns into the exit code.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            say(&self.message);
        }
        ExitCode::from(self.code as u8)
    }
}

/// An error of the library brings its own sentence; its kind decides the code.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match &error {
            Error::NotFound(_) | Error::OutOfRange(_) => Code::Missing,
            Error::Misuse(_)
            | Error::Invalid(_)
            | Error::Unsupported(_)
            | Error::TooLarge(_)
            | Error::SchemaDiffers(_) => Code::Usage,
            Error::Corrupt(_) => Code::Damage,
            _ => Code::Refused,
        };
        Failure::new(code, error.message())
    }
}

/// Says one sentence on standard error. Nobody listening there is no reason to stop.
pub fn say(sentence: impl Display) {
    let _ = writeln!(io::stderr(), "diamonddb: {sentence}");
}
