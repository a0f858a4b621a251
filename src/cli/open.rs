//! Opening the database: who only looks never creates it, and shares it with others who only look.

use super::failure::Result;
use diamonddb::{Database, Durability, Error, OpenOptions, Table};
use std::path::Path;

/// Opens a database that must exist, to look at it.
pub fn open_to_read(path: &Path) -> Result<Database> {
    let options = OpenOptions { must_exist: true, read_only: true, ..OpenOptions::default() };
    Ok(Database::open(path, &options)?)
}

/// Opens a database to write to it, if it exists.
pub fn open_if_there(path: &Path) -> Result<Option<Database>> {
    let options = OpenOptions { must_exist: true, ..OpenOptions::default() };
    if_there(Database::open(path, &options))
}

/// Opens a database to write to it, and makes it first if need be.
pub fn open_or_make(path: &Path) -> Result<Database> {
    Ok(Database::open(path, &OpenOptions::default())?)
}

/// Opens a database to serve it, and makes it first if need be.
pub fn open_to_serve(path: &Path, durability: Durability) -> Result<Database> {
    Ok(Database::open(path, &OpenOptions { durability, ..OpenOptions::default() })?)
}

/// The table, if there is one of that name.
pub fn table_if_there(database: &Database, name: &str) -> Result<Option<Table>> {
    if_there(database.table(name))
}

fn if_there<T>(result: diamonddb::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(there) => Ok(Some(there)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
