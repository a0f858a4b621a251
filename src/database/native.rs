//! The engine of one folder with the native store: its lock, its files, its tables by name, its threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::memory;
use crate::modules::{Front, refuse_inside};
use crate::mutant::{Mutant, broken};
use crate::os::sync::Mutex;
use crate::os::{Disk, DiskLock, Open};
use crate::pages::{NewDatabase, PagedFiles, UNFINISHED, unfinished_backup};
use crate::table::{KIND_TABLE, Schema, TableFile, TableForm};

use super::engine::{check_name, no_table};
use super::options::{CacheChoice, OpenOptions};
use super::upkeep::Upkeep;

/// One folder's engine.
pub struct NativeEngine {
    pub(super) files: Arc<PagedFiles>,
    /// What stands before the files, if a cache does.
    pub(super) front: Option<Arc<Front>>,
    pub(super) options: OpenOptions,
    lock: Mutex<Option<Box<dyn DiskLock>>>,
    /// Whoever makes, drops or renames a table holds it, and may wait for a disk meanwhile.
    naming: Mutex<()>,
    /// The tables by name. Locked for moments only, since readers look here too; changed under `naming`.
    tables: Mutex<BTreeMap<Arc<str>, Arc<TableFile>>>,
    upkeep: Mutex<Option<Upkeep>>,
    /// When `step` last synced in `async` mode.
    synced: Mutex<Instant>,
}

impl NativeEngine {
    /// Locks the folder, makes a database in it if there is none, and recovers it if it was not closed.
    pub fn open(disk: Arc<dyn Disk>, options: &OpenOptions) -> Result<NativeEngine> {
        let may_make = !options.must_exist && !options.read_only;
        let found = is_database(&*disk, may_make)?;
        if !found {
            match disk.open("LOCK", Open::New) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => drop(other.map_err(|error| Error::allocation("make", "LOCK", &error))?),
            }
        }
        let lock = take_lock(&*disk, options.read_only)?;
        // Another process may have made it between the look and the lock.
        if !found && !is_database(&*disk, may_make)? {
            NewDatabase::make(&*disk)?;
        }
        let files = PagedFiles::open(disk, options.page_options()?)?;
        let mut tables = BTreeMap::new();
        for file in files.files()? {
            if file.kind != KIND_TABLE {
                let what = format!("file {} is of kind {}, which this version does not know", file.id.0, file.kind);
                return Err(Error::Format(what.into()));
            }
            let number = file.id.0;
            let damaged = |what: &str| Error::corrupt(&format!("the catalog's entry of file {number}"), what);
            let table = Arc::new(TableFile::open(&files, file)?);
            check_name(&table.name()).map_err(|error| damaged(error.message()))?;
            if tables.insert(table.name(), table).is_some() {
                return Err(damaged("another file has the same table's name"));
            }
        }
        let cache = options.cache.module();
        let front = cache.map(|cache| Front::new(Some(cache), Arc::as_ptr(&files) as usize)).transpose()?.map(Arc::new);
        let upkeep = if options.no_threads || options.read_only {
            None
        } else {
            Some(Upkeep::start(Arc::clone(&files), options)?)
        };
        Ok(NativeEngine {
            files,
            front,
            // The cache is the front's, which lets it go.
            options: OpenOptions { cache: CacheChoice::None, ..options.clone() },
            lock: Mutex::new(Some(lock)),
            naming: Mutex::new(()),
            tables: Mutex::new(tables),
            upkeep: Mutex::new(upkeep),
            synced: Mutex::new(Instant::now()),
        })
    }

    /// Refuses what a cache asks of the database that is calling it.
    pub fn refuse_inside(&self) -> Result<()> {
        if self.front.is_some() { refuse_inside(Arc::as_ptr(&self.files) as usize) } else { Ok(()) }
    }

    /// What a session's close promises while others go on: all is durable.
    pub fn settle(&self) -> Result<()> {
        if self.options.read_only { Ok(()) } else { self.files.flush() }
    }

    /// Stops the threads, leaves the folder as a clean close does, and unlocks it. With no session left.
    pub fn shut_down(&self) -> Result<()> {
        // Released at the end, and by a panic: the folder can be opened again though handles of this engine are left.
        let _held = self.lock.lock().take();
        if let Some(upkeep) = self.upkeep.lock().take() {
            upkeep.stop();
        }
        if let Some(front) = &self.front {
            front.close();
        }
        self.files.close()
    }

    /// One piece of upkeep after the other, until `budget` is spent.
    pub fn step(&self, budget: Duration) -> Result<bool> {
        if self.options.read_only || !self.options.no_threads {
            return Ok(false);
        }
        let started = Instant::now();
        let sync = {
            let mut synced = self.synced.lock();
            let due = synced.elapsed() >= self.options.interval();
            if due {
                *synced = started;
            }
            due
        };
        self.files.tend_wal(sync)?;
        if started.elapsed() < budget && self.files.wants_checkpoint() {
            self.files.checkpoint()?;
        }
        Ok(self.files.wants_checkpoint())
    }

    /// The table `name`, made if it is not there; with the LSN that makes it durable.
    pub fn make_table(&self, name: &str, schema: &Schema) -> Result<(Arc<TableFile>, u64)> {
        check_name(name)?;
        let _naming = self.naming.lock();
        let (found, count) = {
            let tables = self.tables.lock();
            (tables.get(name).cloned(), tables.len())
        };
        if let Some(table) = found {
            table.form().expect_schema(schema)?;
            return Ok((table, self.files.last_lsn()));
        }
        TableForm::admit(count)?;
        let page_size = TableFile::page_size(schema.layout().slot_size, self.options.page_size_max());
        let meta = TableFile::describe(name, &schema.to_json())?;
        let (file, lsn) = self.files.create_file(KIND_TABLE, page_size, meta)?;
        let table = match TableFile::open(&self.files, Arc::clone(&file)) {
            Ok(table) => Arc::new(table),
            Err(error) => {
                // It was made, and nobody knows it: a second one of that name must not come beside it.
                if self.files.drop_file(&file).is_err() {
                    self.files.poison("a table that was just made could be neither opened nor dropped");
                }
                return Err(error);
            }
        };
        self.tables.lock().insert(Arc::from(name), Arc::clone(&table));
        Ok((table, lsn))
    }

    /// The table `name`.
    pub fn table(&self, name: &str) -> Result<Arc<TableFile>> {
        check_name(name)?;
        self.tables.lock().get(name).cloned().ok_or_else(|| no_table(name))
    }

    /// All tables, by name.
    pub fn tables(&self) -> Result<Vec<Arc<TableFile>>> {
        let tables = self.tables.lock();
        memory::collect(tables.len(), tables.values().cloned(), "the list of all tables")
    }

    /// How many tables there are.
    pub fn table_count(&self) -> usize {
        self.tables.lock().len()
    }

    /// Drops the table `name`.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let lsn = {
            let _naming = self.naming.lock();
            let lsn = self.files.drop_file(self.table(name)?.file())?;
            self.tables.lock().remove(name);
            lsn
        };
        if !broken(Mutant::DropNotWaitedFor) {
            self.files.wait_as_promised(lsn)?;
        }
        self.files.request_checkpoint();
        Ok(())
    }

    /// Renames the table `from`.
    pub fn rename_table(&self, from: &str, to: &str) -> Result<()> {
        check_name(from)?;
        check_name(to)?;
        let lsn = {
            let _naming = self.naming.lock();
            let table = self.table(from)?;
            if from == to {
                return Ok(());
            }
            if self.tables.lock().contains_key(to) {
                return Err(table.form().name_taken(to));
            }
            let lsn = table.rename(to)?;
            let mut tables = self.tables.lock();
            tables.remove(from);
            tables.insert(Arc::from(to), table);
            lsn
        };
        if broken(Mutant::RenameNotWaitedFor) { Ok(()) } else { self.files.wait_as_promised(lsn) }
    }
}

pub(super) fn take_lock(disk: &dyn Disk, read_only: bool) -> Result<Box<dyn DiskLock>> {
    let name = disk.describe();
    let locked = disk.lock(!read_only).map_err(|error| match error.kind() {
        // It is not made here: where somebody removed the file of a lock that is held, a second process would get in.
        std::io::ErrorKind::NotFound => {
            let text = format!("{name} has no file LOCK; if no process has the database open, make an empty one there");
            Error::Io(text.into())
        }
        _ => Error::io("lock", &format!("{name}/LOCK"), &error),
    })?;
    locked.map_err(|holder| Error::locked(&name, holder))
}

/// True if the folder holds a database, false if one may be made there; an error in all other cases.
fn is_database(disk: &dyn Disk, may_make: bool) -> Result<bool> {
    if has_manifest(disk)? {
        return Ok(true);
    }
    let name = disk.describe();
    let strangers = NewDatabase::strangers(disk)?;
    if strangers.iter().any(|stranger| stranger == UNFINISHED) {
        return Err(unfinished_backup(disk));
    }
    match strangers.first() {
        // Another process may make a database there at this moment: its manifest is there before anything else is.
        Some(_) if has_manifest(disk)? => Ok(true),
        _ if !may_make => Err(Error::NotFound(format!("there is no database in {name}").into())),
        None => Ok(false),
        Some(stranger) => {
            let text = format!("{name} is no database and not empty: there is {stranger}; name an empty folder");
            Err(Error::Format(text.into()))
        }
    }
}

fn has_manifest(disk: &dyn Disk) -> Result<bool> {
    match disk.open("MANIFEST", Open::Read) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("open", "MANIFEST", &error)),
    }
}
