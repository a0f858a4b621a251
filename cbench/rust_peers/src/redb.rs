//! redb: a table by integer key, a cache that holds all, one transaction a call. Async is `Durability::None`, which a
//! kill takes back to the last durable commit; durable is its default. There is nothing between the two.

use std::ffi::c_void;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::{ASYNC, Setup, Visitor, good, new_record, put_record, writes};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");

pub struct Store {
    db: Database,
    durability: Durability,
}

impl Store {
    /// One transaction that writes.
    fn write<'a>(&self, durability: Durability, records: impl Iterator<Item = (u64, &'a [u8])>) {
        let mut transaction = good(self.db.begin_write());
        good(transaction.set_durability(durability));
        {
            let mut table = good(transaction.open_table(RECORDS));
            for (id, record) in records {
                good(table.insert(id, record));
            }
        }
        good(transaction.commit());
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn redb_open(setup: &Setup) -> *mut Store {
    let mut builder = Database::builder();
    builder.set_cache_size(setup.cache_size() as usize);
    let db = good(builder.create(setup.path("records.redb")));
    let durability = if setup.durability == ASYNC { Durability::None } else { Durability::Immediate };
    let store = Store { db, durability };
    store.write(Durability::Immediate, std::iter::empty());
    Box::into_raw(Box::new(store))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn redb_close(store: *mut Store) {
    // SAFETY: from redb_open.
    let store = unsafe { Box::from_raw(store) };
    store.write(Durability::Immediate, std::iter::empty());
}

#[unsafe(no_mangle)]
unsafe extern "C" fn redb_load(store: &Store, count: u64) {
    let transaction = good(store.db.begin_write());
    {
        let mut table = good(transaction.open_table(RECORDS));
        let mut record = Vec::new();
        for id in 0..count {
            new_record(id, &mut record);
            good(table.insert(id, record.as_slice()));
        }
    }
    good(transaction.commit());
}

#[unsafe(no_mangle)]
extern "C" fn redb_enter(store: &'static Store) -> *const Store {
    store
}

#[unsafe(no_mangle)]
extern "C" fn redb_leave(_store: *const Store) {}

#[unsafe(no_mangle)]
unsafe extern "C" fn redb_read(store: &Store, id: u64, room: *mut u8) -> *const u8 {
    let table = good(good(store.db.begin_read()).open_table(RECORDS));
    let found = good(table.get(id)).expect("the record is there");
    // SAFETY: the harness gives room.
    unsafe { put_record(found.value(), room) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn redb_read_many(
    store: &Store,
    ids: *const u64,
    count: usize,
    room: *mut u8,
    records: *mut *const u8,
) {
    let table = good(good(store.db.begin_read()).open_table(RECORDS));
    for index in 0..count {
        // SAFETY: the harness gives count ids, places and rooms.
        unsafe {
            let found = good(table.get(*ids.add(index))).expect("the record is there");
            *records.add(index) = put_record(found.value(), room.add(index * crate::record_size));
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn redb_scan(store: &Store, visit: Visitor, argument: *mut c_void) {
    let table = good(good(store.db.begin_read()).open_table(RECORDS));
    for entry in good(table.iter()) {
        let (id, record) = good(entry);
        // SAFETY: the harness's function, and its argument.
        unsafe { visit(argument, id.value(), record.value().as_ptr()) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn redb_overwrite(store: &Store, ids: *const u64, count: usize, records: *const u8) {
    // SAFETY: the harness gives both.
    store.write(store.durability, unsafe { writes(ids, count, records) });
}
