//! One open database: the controller over its tables.
//!
//! A [`Database`] is one opening of an engine; a second opening of the same folder in the process shares the engine.
//! What hangs on an opening (tables, cursors, batches, snapshots) answers `Closed` once it was closed. Only a pin goes
//! on: it is an opening itself.

mod backup;
mod batch;
mod engine;
mod home;
mod module;
mod native;
mod options;
mod pin;
mod salvage;
mod session;
mod snapshot;
mod stats;
mod table;
mod upkeep;
mod verify;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::mutant::{Mutant, broken};
use crate::os::Disk;
use crate::table::Schema;

pub use batch::{Batch, Committed};
pub use module::NativeStore;
pub use options::{CacheChoice, Durability, OpenOptions, Sizes, StoreChoice};
pub use pin::Pin;
pub use salvage::{Loss, SalvageOptions, SalvageReport, SalvagedTable, salvage, salvage_on};
pub use snapshot::Snapshot;
pub use table::{Cursor, Table};
pub use verify::{Finding, VerifyReport};

pub(crate) use session::Session;

use engine::Engine;
use home::Home;

/// The place of a commit in the order of all commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// What a list of tables says of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// The id that the next save gets.
    pub next_id: u64,
    /// Records that are there.
    pub count: u64,
    /// The size of a packed record, in bytes.
    pub record_size: u64,
    /// From one record to the next in the file, in bytes.
    pub slot_size: u64,
}

/// One opening of a database. Works from every thread. Dropping it closes it, but then nobody hears of errors.
pub struct Database {
    session: Arc<Session>,
}

impl Database {
    /// Opens the database in the folder `path`, and makes it if there is none.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Database> {
        Ok(Database { session: Session::open(path.as_ref(), options)? })
    }

    /// Opens a database on a disk of the caller's. Other openings are kept out by the disk's own lock only.
    pub fn open_on(disk: Arc<dyn Disk>, options: &OpenOptions) -> Result<Database> {
        Ok(Database { session: Session::open_on(disk, options)? })
    }

    /// Refuses a thread on which the modules of this database cannot be called, and what a module asks of the database
    /// that is calling it.
    pub(crate) fn refuse_elsewhere(&self) -> Result<()> {
        self.engine().refuse_elsewhere()
    }

    /// Waits for running writes, and closes. `Ok` says that everything is durable. An error is told once; the
    /// database is closed all the same. While the folder is open otherwise, or a table is pinned, the engine goes on
    /// and the folder stays locked.
    pub fn close(self) -> Result<()> {
        self.session.close()
    }

    /// Syncs everything that was committed, whatever the durability mode.
    pub fn flush(&self) -> Result<()> {
        let _writing = self.session.write()?;
        self.engine().refuse_inside()?;
        self.engine().flush()
    }

    /// Brings the data files up to date, so that the next opening has nothing to replay.
    pub fn checkpoint(&self) -> Result<()> {
        let _writing = self.session.write()?;
        self.engine().checkpoint()
    }

    /// The upkeep of a database without threads of its own: writes and syncs what waits, makes a checkpoint if one
    /// is due. Takes about `budget` at most, except that a step once begun is finished. True if there is more to do.
    pub fn step(&self, budget: Duration) -> Result<bool> {
        let _writing = self.session.write()?;
        self.engine().step(budget)
    }

    /// Waits until the commit with this LSN is as durable as the mode promises; `Lsn(0)` means all that is visible
    /// now. In `async` mode this syncs. `Timeout` if it is not done after `timeout`; `None` waits for ever.
    pub fn wait_durable(&self, lsn: Lsn, timeout: Option<Duration>) -> Result<()> {
        let _writing = self.session.write()?;
        let last = self.engine().last_lsn();
        if lsn.0 > last {
            let text = format!("there is no commit {} yet; the newest is {last}", lsn.0);
            return Err(Error::Invalid(text.into()));
        }
        let lsn = if lsn.0 == 0 { last } else { lsn.0 };
        if self.engine().wait(lsn, timeout)? {
            return Ok(());
        }
        Err(Error::Timeout(format!("commit {lsn} is not durable after {timeout:?}").into()))
    }

    /// Reads everything and says what is wrong with it. Damage is a finding, not an error.
    pub fn verify(&self) -> Result<VerifyReport> {
        let _reading_files = self.session.write()?;
        self.engine().verify()
    }

    /// Copies the database, as it is now, to the folder `target`, which must be empty or not there yet. Commits,
    /// checkpoints and whatever else go on meanwhile, and are not in the copy; only the old pages that it still needs
    /// count as memory, as they do for a scan. The copy is a database of its own, cleanly closed.
    ///
    /// `progress` is told how many bytes of pages are copied, and of how many, first and last of all among others;
    /// `Break` calls the backup off: `Cancelled`. It runs on this thread, under no lock.
    ///
    /// `Corrupt` names a page that does not match its checksum. After any error the target is as before, as far as
    /// the disk allows; what a crash leaves there is refused by every opening, unless the copy is whole.
    pub fn backup(
        &self,
        target: impl AsRef<Path>,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let _copying = self.session.write()?;
        self.engine().backup(self.session.folder(), target.as_ref(), &mut progress)
    }

    /// Copies the database to a disk of the caller's, which must be empty.
    pub fn backup_on(&self, target: &dyn Disk, mut progress: impl FnMut(u64, u64) -> ControlFlow<()>) -> Result<()> {
        let _copying = self.session.write()?;
        self.engine().native("backup")?.files.backup(target, &mut progress)
    }

    /// Figures since opening, as a JSON object.
    pub fn stats_json(&self) -> Result<String> {
        self.session.read()?;
        self.engine().refuse_inside()?;
        Ok(self.engine().stats_json())
    }

    /// Opens the table `name` if it is there with this schema, order included, and makes it if it is not there.
    /// `SchemaDiffers` says how the schemas differ.
    pub fn make_table(&self, name: &str, schema: &Schema) -> Result<Table> {
        let _writing = self.session.write()?;
        self.engine().refuse_inside()?;
        let (table, lsn) = self.engine().make_table(name, schema)?;
        if !broken(Mutant::MakeNotWaitedFor) {
            self.engine().wait_as_promised(lsn)?;
        }
        Ok(self.hand_out(table))
    }

    /// Opens the table `name`.
    pub fn table(&self, name: &str) -> Result<Table> {
        self.session.read()?;
        Ok(self.hand_out(self.engine().table(name)?))
    }

    /// Drops a table with all its records. Its disk space is given back by the checkpoint that follows.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        let _writing = self.session.write()?;
        self.engine().drop_table(name)
    }

    /// Gives a table another name, which must be free. Open handles go on.
    pub fn rename_table(&self, from: &str, to: &str) -> Result<()> {
        let _writing = self.session.write()?;
        self.engine().rename_table(from, to)
    }

    /// All tables, by name.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        self.session.read()?;
        self.engine().tables()
    }

    /// All tables as they are now, to be read later.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.session.read()?;
        Snapshot::new(Arc::clone(&self.session))
    }

    /// An empty batch.
    pub fn batch(&self) -> Result<Batch> {
        self.session.read()?;
        Ok(Batch::new(Arc::clone(&self.session)))
    }

    /// This opening.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn hand_out(&self, table: Home) -> Table {
        Table::new(Arc::clone(&self.session), table)
    }

    fn engine(&self) -> &Engine {
        self.session.engine()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.session.close();
    }
}
