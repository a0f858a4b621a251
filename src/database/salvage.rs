//! A new database from what can still be read of a damaged one.
//!
//! What a user may rely on:
//!
//! 1. The source is only read. Its lock is shared with readers, so a database that is being written is `Locked`.
//! 2. Every record that is taken is as one commit left it. Records that a damaged region held, or that only commits
//!    which are missing from the wal had changed, may be older than the newest commit, or lost.
//! 3. Ids stay what they were. A record that is lost leaves its id behind as one that was deleted.
//! 4. Whatever is known to be lost is told: by table and ids where these are known, by file where not.
//! 5. The target appears whole, closed and verified, or not at all.

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::os::{Disk, Draft, Open, RealDisk};
use crate::pages::{FileImage, Remains};
use crate::table::{KIND_TABLE, Schema, TableFile, check_slot, is_live};
use crate::wal::Durability;

use super::Database;
use super::native::take_lock;
use super::options::OpenOptions;

/// What to take from a damaged database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvageOptions {
    /// Also take records from pages that match no checksum, if they break no rule of their table's schema. They may be
    /// wrong.
    pub unverified: bool,
}

/// Something that is not in the new database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The file where it should have been.
    pub file: String,
    /// The table, where it is known.
    pub table: Option<String>,
    /// The first and the last id, where they are known. Ids among them that had been deleted are not told apart.
    pub ids: Option<(u64, u64)>,
    /// Why, in a sentence.
    pub what: String,
}

/// What a table of the new database has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvagedTable {
    /// Its name.
    pub name: String,
    /// Records that are there.
    pub records: u64,
    /// Of these, records that come from pages which match no checksum.
    pub unverified: u64,
    /// Ids whose records are lost, or whose deletion is.
    pub lost: u64,
}

/// What a salvage took and what not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvageReport {
    /// The tables of the new database, by name.
    pub tables: Vec<SalvagedTable>,
    /// How often `lost` was called: 0 says that all was taken.
    pub losses: u64,
}

/// Reads whatever verifies in the database folder `source` into a new database in the folder `target`, which must be
/// missing or empty. `lost` is told of everything that could not be taken, table by table and in the order of ids.
pub fn salvage(
    source: impl AsRef<Path>,
    target: impl AsRef<Path>,
    options: &SalvageOptions,
    lost: &mut dyn FnMut(Loss),
) -> Result<SalvageReport> {
    let (source, target) = (source.as_ref(), target.as_ref());
    let (from, to) = (source.display().to_string(), target.display().to_string());
    let disk = RealDisk::open(source, false).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("there is no database {from}").into()),
        _ => Error::io("open the folder", &from, &error),
    })?;
    refuse_inside(source, target)?;
    let remains = Salvage::open(Arc::new(disk), options, lost)?;
    let draft = Draft::make(target, "salvaging").map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::InvalidInput => {
            Error::Invalid(error.to_string().into())
        }
        std::io::ErrorKind::NotFound => {
            Error::NotFound(format!("the folder that is to hold {to} does not exist").into())
        }
        _ => Error::allocation("make the folder", &to, &error),
    })?;
    let path = draft.path().to_owned();
    let report = remains.run(&|options| Database::open(&path, options))?;
    draft.publish().map_err(|error| Error::io("rename a folder to", &to, &error))?;
    Ok(report)
}

/// The same on disks of the caller's. An interruption leaves the target disk as it is.
pub fn salvage_on(
    source: Arc<dyn Disk>,
    target: Arc<dyn Disk>,
    options: &SalvageOptions,
    lost: &mut dyn FnMut(Loss),
) -> Result<SalvageReport> {
    if !target.list("").map_err(|error| Error::io("list", &target.describe(), &error))?.is_empty() {
        return Err(Error::Invalid(format!("{} is not empty", target.describe()).into()));
    }
    let salvage = Salvage::open(source, options, lost)?;
    salvage.run(&|options| Database::open_on(Arc::clone(&target), options))
}

/// Nothing is made inside the source.
fn refuse_inside(source: &Path, target: &Path) -> Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(source), Ok(parent)) = (source.canonicalize(), parent.canonicalize()) else { return Ok(()) };
    if parent.starts_with(&source) {
        let text = format!("{} lies inside the database that is to be read", target.display());
        return Err(Error::Invalid(text.into()));
    }
    Ok(())
}

/// Slots are written in pieces of about this size.
const PIECE_SIZE: usize = 4 << 20;

/// A salvage under way.
struct Salvage<'a> {
    remains: Remains,
    options: &'a SalvageOptions,
    lost: &'a mut dyn FnMut(Loss),
    report: SalvageReport,
    /// Held until the end, so that nobody writes to the source meanwhile.
    _lock: Option<Box<dyn crate::os::DiskLock>>,
}

impl<'a> Salvage<'a> {
    fn open(source: Arc<dyn Disk>, options: &'a SalvageOptions, lost: &'a mut dyn FnMut(Loss)) -> Result<Salvage<'a>> {
        // A lock that is not there, or cannot be asked, keeps nobody out; that must not keep the data in.
        let lock = match source.open("LOCK", Open::Read) {
            Ok(_) => Some(take_lock(&*source, true)?),
            Err(_) => None,
        };
        let remains = Remains::read(source)?;
        Ok(Salvage { remains, options, lost, report: SalvageReport::default(), _lock: lock })
    }

    fn run(mut self, open: &dyn Fn(&OpenOptions) -> Result<Database>) -> Result<SalvageReport> {
        for (file, what) in std::mem::take(&mut self.remains.lost) {
            self.lose(Loss { file, table: None, ids: None, what });
        }
        // Nobody waits for single commits: the target counts only once it was closed.
        let writing = OpenOptions { durability: Durability::Async, no_threads: true, ..OpenOptions::default() };
        let db = open(&writing)?;
        let images: Vec<FileImage> = self.remains.files().cloned().collect();
        for image in &images {
            self.take_file(&db, image)?;
        }
        db.close()?;
        let reading = OpenOptions { must_exist: true, read_only: true, ..OpenOptions::default() };
        let db = open(&reading)?;
        let found = db.verify()?.findings;
        db.close()?;
        if let Some(finding) = found.first() {
            return Err(Error::corrupt(&finding.file, format!("in the new database, {}", finding.message)));
        }
        self.report.tables.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(self.report)
    }

    fn lose(&mut self, loss: Loss) {
        self.report.losses += 1;
        (self.lost)(loss);
    }

    fn lose_file(&mut self, image: &FileImage, table: Option<String>, what: String) {
        self.lose(Loss { file: image.id.name(), table, ids: None, what });
    }

    /// Takes what one file holds. Files come newest first, so that of two tables with one name the newer keeps it.
    fn take_file(&mut self, db: &Database, image: &FileImage) -> Result<()> {
        if image.kind != KIND_TABLE {
            self.lose_file(image, None, format!("it is of kind {}, which this version does not know", image.kind));
            return Ok(());
        }
        let (name, schema) = match TableFile::described(&image.meta, image.page_size as usize) {
            Ok(described) => described,
            Err(what) => {
                self.lose_file(image, None, format!("what the catalog says of it is of no use: {what}"));
                return Ok(());
            }
        };
        let Some(table) = self.make_table(db, image, &name, &schema)? else { return Ok(()) };
        let salvaged = SalvagedTable { name: table.name().to_string(), ..SalvagedTable::default() };
        let mut taking = Taking {
            table: &table,
            file: image.id.name(),
            slots: Vec::new(),
            live: 0,
            ids: 0,
            losing: None,
            salvaged,
            losses: Vec::new(),
        };
        self.take_pages(image, &schema, &mut taking)?;
        let (losses, salvaged) = taking.finish()?;
        losses.into_iter().for_each(|loss| self.lose(loss));
        self.report.tables.push(salvaged);
        Ok(())
    }

    /// The new table, under another name where its own is taken or impossible.
    fn make_table(
        &mut self,
        db: &Database,
        image: &FileImage,
        name: &str,
        schema: &Schema,
    ) -> Result<Option<Arc<TableFile>>> {
        let own = name.to_owned();
        let other = format!("file {}", image.id.0);
        for name in [own.clone(), other.clone()] {
            if db.engine().table(&name).is_ok() {
                continue;
            }
            match db.engine().make_table(&name, schema) {
                Ok((table, _)) => {
                    if name != own {
                        let what = format!("its name is that of a newer table, or none; it is called {other:?} now");
                        self.lose_file(image, Some(own), what);
                    }
                    return Ok(Some(Arc::clone(table.file("salvage")?)));
                }
                Err(Error::Invalid(_)) => {}
                Err(Error::TooLarge(what)) => {
                    self.lose_file(image, Some(own), what.into_owned());
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        self.lose_file(image, Some(own), "neither its name nor another could be used".into());
        Ok(None)
    }

    fn take_pages(&mut self, image: &FileImage, schema: &Schema, taking: &mut Taking<'_>) -> Result<()> {
        let layout = schema.layout();
        let slot_size = layout.slot_size;
        let (pages, length) = self.remains.page_count(image.id);
        let end = length / slot_size as u64;
        let mut bytes = Vec::new();
        let refused = |_| Error::NoMemory(format!("no memory for a page of {} bytes", image.page_size).into());
        bytes.try_reserve_exact(image.page_size as usize).map_err(refused)?;
        bytes.resize(image.page_size as usize, 0);
        for page in 0..pages {
            let found = self.remains.page(image.id, page, &mut bytes)?;
            for (index, slot) in bytes.chunks_exact(slot_size).enumerate() {
                if taking.ids == end {
                    break;
                }
                let at = index * slot_size;
                let is_known = found.known.has(at..at + slot_size);
                match check_slot(layout, slot) {
                    Ok(()) if is_known => taking.take(slot, is_live(layout, slot), false)?,
                    Err(what) if is_known => taking.miss(&what)?,
                    Ok(()) if self.options.unverified && found.is_read && is_live(layout, slot) => {
                        taking.take(slot, true, true)?;
                    }
                    _ => taking.miss(found.why.as_ref().map_or("it is missing", Error::message))?,
                }
            }
        }
        let given = image.length / slot_size as u64;
        if end < given {
            let what = "nothing is left of them, nor of their ids: these will be given again".to_owned();
            let (file, table) = (image.id.name(), Some(taking.salvaged.name.clone()));
            taking.salvaged.lost += given - end;
            taking.end_loss();
            taking.losses.push(Loss { file, table, ids: Some((end, given - 1)), what });
        }
        Ok(())
    }
}

/// One table being filled, slot by slot.
struct Taking<'a> {
    table: &'a Arc<TableFile>,
    file: String,
    slots: Vec<u8>,
    /// How many of the waiting slots hold records.
    live: u64,
    /// How many slots there were so far: the next id.
    ids: u64,
    /// The ids that are being lost, and why.
    losing: Option<(u64, String)>,
    salvaged: SalvagedTable,
    losses: Vec<Loss>,
}

impl Taking<'_> {
    fn take(&mut self, slot: &[u8], is_live: bool, is_unverified: bool) -> Result<()> {
        self.end_loss();
        self.live += u64::from(is_live);
        self.salvaged.records += u64::from(is_live);
        self.salvaged.unverified += u64::from(is_unverified);
        self.push(slot)
    }

    fn miss(&mut self, what: &str) -> Result<()> {
        if self.losing.is_none() {
            self.losing = Some((self.ids, what.to_owned()));
        }
        self.salvaged.lost += 1;
        let zeros = vec![0; self.table.layout().slot_size];
        self.push(&zeros)
    }

    /// The run of lost ids is over, if there is one.
    fn end_loss(&mut self) {
        if let Some((first, what)) = self.losing.take() {
            let (file, table) = (self.file.clone(), Some(self.salvaged.name.clone()));
            self.losses.push(Loss { file, table, ids: Some((first, self.ids - 1)), what });
        }
    }

    fn push(&mut self, slot: &[u8]) -> Result<()> {
        self.ids += 1;
        let refused = |_| Error::NoMemory("no memory for the records that are copied".into());
        self.slots.try_reserve(slot.len()).map_err(refused)?;
        self.slots.extend_from_slice(slot);
        if self.slots.len() >= PIECE_SIZE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        if !self.slots.is_empty() {
            self.table.append_slots(&self.slots, self.live)?;
        }
        self.slots.clear();
        self.live = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(Vec<Loss>, SalvagedTable)> {
        self.write()?;
        self.end_loss();
        Ok((self.losses, self.salvaged))
    }
}
