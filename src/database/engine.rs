//! The engine behind all sessions of one database: the native one, or the controller of a store of somebody else's.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::memory;
use crate::modules::{Controller, ControllerOptions};
use crate::os::{Disk, FileIdentity};
use crate::table::Schema;
use crate::wal::{Durability, Need};

use super::home::Home;
use super::native::NativeEngine;
use super::options::OpenOptions;
use super::verify::{self, VerifyReport};
use super::{TableInfo, backup, stats};

/// How long a table's name is at most, in bytes.
const NAME_SIZE_MAX: usize = 255;

/// What a database runs on.
pub enum Engine {
    Native(Box<NativeEngine>),
    Kept(Arc<Controller>),
}

impl Engine {
    /// Opens a folder with the native store.
    pub fn open(disk: Arc<dyn Disk>, options: &OpenOptions) -> Result<Arc<Engine>> {
        Ok(Arc::new(Engine::Native(Box::new(NativeEngine::open(disk, options)?))))
    }

    /// Opens what a store has.
    pub fn open_kept(options: &OpenOptions) -> Result<Arc<Engine>> {
        let sizes = options.page_options()?;
        let (store, cache) = (options.store.module().expect("the native store has a folder"), options.cache.module());
        let options = ControllerOptions {
            durability: options.durability,
            interval: options.interval(),
            read_only: options.read_only,
            must_exist: options.must_exist,
            no_threads: options.no_threads,
            queue_max: sizes.dirty_hard.min(QUEUE_MAX),
            commit_max: sizes.commit_max,
        };
        Ok(Arc::new(Engine::Kept(Controller::open(store, cache, options)?)))
    }

    /// The native engine, for what only it can do.
    pub fn native(&self, what: &str) -> Result<&NativeEngine> {
        match self {
            Engine::Native(native) => Ok(native),
            Engine::Kept(controller) => {
                let text = format!("{} has no {what}; the native store has", controller.store_name());
                Err(Error::Unsupported(text.into()))
            }
        }
    }

    /// Refuses what a module asks of the database that is calling it.
    pub fn refuse_inside(&self) -> Result<()> {
        match self {
            Engine::Native(native) => native.refuse_inside(),
            Engine::Kept(controller) => controller.refuse_inside(),
        }
    }

    /// Refuses a thread on which a module cannot be called, and what a module asks of the database that is calling it.
    pub fn refuse_elsewhere(&self) -> Result<()> {
        self.refuse_inside()?;
        match self {
            Engine::Native(native) => native.front.as_ref().map_or(Ok(()), |front| front.refuse_elsewhere()),
            Engine::Kept(controller) => controller.refuse_elsewhere(),
        }
    }

    /// What a session's close promises while others go on: all is durable.
    pub fn settle(&self) -> Result<()> {
        match self {
            Engine::Native(native) => native.settle(),
            Engine::Kept(controller) => controller.flush(),
        }
    }

    /// With no session left.
    pub fn shut_down(&self) -> Result<()> {
        match self {
            Engine::Native(native) => native.shut_down(),
            Engine::Kept(controller) => controller.shut_down(),
        }
    }

    /// Ends all writing, after a defect that may have left something half done.
    pub fn poison(&self, why: &str) {
        match self {
            Engine::Native(native) => native.files.poison(why),
            Engine::Kept(controller) => controller.poison(why),
        }
    }

    pub fn flush(&self) -> Result<()> {
        match self {
            Engine::Native(native) => native.files.flush(),
            Engine::Kept(controller) => controller.flush(),
        }
    }

    pub fn checkpoint(&self) -> Result<()> {
        match self {
            Engine::Native(native) => native.files.checkpoint(),
            // A store has no other way to bring its files up to date.
            Engine::Kept(controller) => controller.flush(),
        }
    }

    pub fn step(&self, budget: Duration) -> Result<bool> {
        match self {
            Engine::Native(native) => native.step(budget),
            Engine::Kept(controller) => controller.step(),
        }
    }

    /// The last commit.
    pub fn last_lsn(&self) -> u64 {
        match self {
            Engine::Native(native) => native.files.last_lsn(),
            Engine::Kept(controller) => controller.last_lsn(),
        }
    }

    /// Waits until a commit is as durable as the mode promises, in `async` mode until it is synced.
    pub fn wait(&self, lsn: u64, timeout: Option<Duration>) -> Result<bool> {
        match self {
            Engine::Native(native) => {
                let files = &native.files;
                let need = match files.options().wal.durability {
                    Durability::Os => Need::Written,
                    Durability::Sync | Durability::Async => Need::Synced,
                };
                files.wait(lsn, need, timeout)
            }
            Engine::Kept(controller) if controller.options.durability == Durability::Os => Ok(true),
            Engine::Kept(controller) => controller.persist_through(lsn, timeout),
        }
    }

    /// Waits as a commit in this database's mode does.
    pub fn wait_as_promised(&self, lsn: u64) -> Result<()> {
        match self {
            Engine::Native(native) => native.files.wait_as_promised(lsn),
            Engine::Kept(controller) => controller.wait_as_promised(lsn),
        }
    }

    /// A commit did not wait: whoever writes behind it may begin.
    pub fn nudge(&self) {
        if let Engine::Native(native) = self {
            native.files.nudge();
        }
    }

    /// How many bytes of records a commit has at most.
    pub fn commit_max(&self) -> u64 {
        match self {
            Engine::Native(native) => native.files.options().commit_max,
            Engine::Kept(controller) => controller.options.commit_max,
        }
    }

    pub fn verify(&self) -> Result<VerifyReport> {
        match self {
            Engine::Native(native) => verify::verify(native),
            Engine::Kept(controller) => verify::verify_kept(controller),
        }
    }

    pub fn backup(
        &self,
        folder: Option<FileIdentity>,
        target: &std::path::Path,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<()> {
        backup::to_folder(self.native("backup")?, folder, target, progress)
    }

    pub fn stats_json(&self) -> String {
        match self {
            Engine::Native(native) => stats::json(native),
            Engine::Kept(controller) => controller.stats().to_string(),
        }
    }

    /// The table `name`, made if it is not there; with the LSN that makes it durable.
    pub fn make_table(&self, name: &str, schema: &Schema) -> Result<(Home, u64)> {
        check_name(name)?;
        match self {
            Engine::Native(native) => {
                let (table, lsn) = native.make_table(name, schema)?;
                Ok((Home::native(table, &native.front), lsn))
            }
            Engine::Kept(controller) => {
                let (table, lsn) = controller.make_table(name, schema)?;
                Ok((Home::Kept(Arc::clone(controller), table), lsn))
            }
        }
    }

    /// The table `name`.
    pub fn table(&self, name: &str) -> Result<Home> {
        check_name(name)?;
        match self {
            Engine::Native(native) => Ok(Home::native(native.table(name)?, &native.front)),
            Engine::Kept(controller) => {
                controller.refuse_inside()?;
                let table = controller.table(name).ok_or_else(|| no_table(name))?;
                Ok(Home::Kept(Arc::clone(controller), table))
            }
        }
    }

    /// Drops the table `name`.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        check_name(name)?;
        match self {
            Engine::Native(native) => native.drop_table(name),
            Engine::Kept(controller) => controller.drop_table(name, || no_table(name)),
        }
    }

    /// Renames the table `from`.
    pub fn rename_table(&self, from: &str, to: &str) -> Result<()> {
        check_name(from)?;
        check_name(to)?;
        match self {
            Engine::Native(native) => native.rename_table(from, to),
            Engine::Kept(controller) => controller.rename_table(from, to, || no_table(from)),
        }
    }

    /// What there is, by name.
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        let homes: Vec<Home> = match self {
            Engine::Native(native) => {
                let tables = native.tables()?;
                memory::collect(tables.len(), tables.into_iter().map(Home::File), LIST)?
            }
            Engine::Kept(controller) => {
                let tables = controller.tables()?;
                let home = |table| Home::Kept(Arc::clone(controller), table);
                memory::collect(tables.len(), tables.into_iter().map(home), LIST)?
            }
        };
        let mut infos = Vec::new();
        memory::reserve(&mut infos, homes.len(), LIST)?;
        for home in homes {
            let layout = home.form().layout();
            infos.push(TableInfo {
                name: home.form().name().to_string(),
                next_id: home.next_id(),
                count: home.count()?,
                record_size: layout.record_size as u64,
                slot_size: layout.slot_size as u64,
            });
        }
        Ok(infos)
    }
}

/// What memory of a list is for, in messages.
const LIST: &str = "the list of all tables";

/// What a store may queue at most before writers wait for a persist, unless the options say less.
const QUEUE_MAX: u64 = 64 << 20;

/// Refuses what can be no table's name.
pub fn check_name(name: &str) -> Result<()> {
    let size = name.len();
    if size == 0 || size > NAME_SIZE_MAX {
        let text = format!("a table's name has 1 to {NAME_SIZE_MAX} bytes, not {size}");
        return Err(Error::Invalid(text.into()));
    }
    if name.chars().any(char::is_control) {
        let text = format!("the table name {name:?} has control characters in it");
        return Err(Error::Invalid(text.into()));
    }
    Ok(())
}

/// The error for a name that no table has.
pub fn no_table(name: &str) -> Error {
    Error::NotFound(format!("there is no table {name}").into())
}
