//! All tables as they were at one moment.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::pages::{self, FileImage, PagedFile, ReaderKind};
use crate::table::TableFile;

use super::Lsn;
use super::engine::check_name;
use super::home::Home;
use super::session::Session;
use super::table::Table;

/// The database between two commits: every table as it was when the snapshot was taken, whatever is written since.
/// Works from every thread.
///
/// While it, or a table of it, is open, pages that are changed are kept in memory as they were. That memory is limited
/// (`OpenOptions::dirty_hard`); where writers are refused for want of it, the sentence names the oldest of those who
/// hold some. Only a table that is dropped takes its pages with it: then a table of the snapshot is `NotFound`.
pub struct Snapshot {
    session: Arc<Session>,
    cut: Arc<pages::Snapshot>,
    files: Vec<(Arc<PagedFile>, FileImage)>,
}

impl Snapshot {
    pub(super) fn new(session: Arc<Session>) -> Result<Snapshot> {
        let (cut, files) = session.engine().native("snapshots")?.files.snapshot_of_all(ReaderKind::Snapshot);
        Ok(Snapshot { session, cut: Arc::new(cut), files })
    }

    /// The table that was called `name` when the snapshot was taken. Every verb that reads answers as of then, `name`
    /// and `count` among them; every verb that writes is `Unsupported`. The table keeps the snapshot's moment alive.
    pub fn table(&self, name: &str) -> Result<Table> {
        self.session.read()?;
        check_name(name)?;
        let found = self.files.iter().find(|(_, image)| TableFile::is_named(&image.meta, name));
        let Some((file, image)) = found else {
            return Err(Error::NotFound(format!("there was no table {name} when the snapshot was taken").into()));
        };
        let table = TableFile::open_as_of(&self.cut, file, image)?;
        if file.is_dropped() {
            Err(table.dropped())
        } else {
            Ok(Table::new(Arc::clone(&self.session), Home::File(Arc::new(table))))
        }
    }

    /// The last commit that it sees.
    pub fn lsn(&self) -> Lsn {
        Lsn(self.cut.reader().lsn)
    }
}
