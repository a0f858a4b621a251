//! fjall: big-endian keys, a cache that holds all, no compression (nothing here compresses). A load is an ingestion.
//! Async keeps the journal in memory (`manual_journal_persist`); os hands each commit to the operating system, as its
//! default does; durable syncs each.

use std::ffi::c_void;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use crate::{ASYNC, DURABLE, Setup, Visitor, good, new_record, put_record, writes};

pub struct Store {
    db: Database,
    records: Keyspace,
    persist: Option<PersistMode>,
}

/// A keyspace keeps what it was made with, so all modes make it alike, and each says itself what it persists.
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .expect_point_read_hits(true)
        .manual_journal_persist(true)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_open(setup: &Setup) -> *mut Store {
    let builder = Database::builder(setup.path("fjall"))
        .cache_size(setup.cache_size())
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true);
    let db = good(builder.open());
    let records = good(db.keyspace("records", options));
    let persist = match setup.durability {
        ASYNC => None,
        DURABLE => Some(PersistMode::SyncData),
        _ => Some(PersistMode::Buffer),
    };
    Box::into_raw(Box::new(Store { db, records, persist }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_close(store: *mut Store) {
    // SAFETY: from fjall_open.
    let store = unsafe { Box::from_raw(store) };
    good(store.db.persist(PersistMode::SyncAll));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_load(store: &Store, count: u64) {
    let mut ingestion = good(store.records.start_ingestion());
    let mut record = Vec::new();
    for id in 0..count {
        new_record(id, &mut record);
        good(ingestion.write(id.to_be_bytes(), record.as_slice()));
    }
    good(ingestion.finish());
    good(store.db.persist(PersistMode::SyncAll));
}

#[unsafe(no_mangle)]
extern "C" fn fjall_enter(store: &'static Store) -> *const Store {
    store
}

#[unsafe(no_mangle)]
extern "C" fn fjall_leave(_store: *const Store) {}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_read(store: &Store, id: u64, room: *mut u8) -> *const u8 {
    let found = good(store.records.get(id.to_be_bytes())).expect("the record is there");
    // SAFETY: the harness gives room.
    unsafe { put_record(&found, room) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_read_many(
    store: &Store,
    ids: *const u64,
    count: usize,
    room: *mut u8,
    records: *mut *const u8,
) {
    let snapshot = store.db.snapshot();
    for index in 0..count {
        // SAFETY: the harness gives count ids, places and rooms.
        unsafe {
            let key = (*ids.add(index)).to_be_bytes();
            let found = good(snapshot.get(&store.records, key)).expect("the record is there");
            *records.add(index) = put_record(&found, room.add(index * crate::record_size));
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_scan(store: &Store, visit: Visitor, argument: *mut c_void) {
    for guard in store.records.iter() {
        let (key, record) = good(guard.into_inner());
        let id = u64::from_be_bytes(key[..].try_into().expect("a key has 8 bytes"));
        // SAFETY: the harness's function, and its argument.
        unsafe { visit(argument, id, record.as_ptr()) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_overwrite(store: &Store, ids: *const u64, count: usize, records: *const u8) {
    // SAFETY: the harness gives both.
    let writes = unsafe { writes(ids, count, records) };
    if count > 1 {
        let mut batch = store.db.batch().durability(store.persist);
        for (id, record) in writes {
            batch.insert(&store.records, id.to_be_bytes(), record);
        }
        return good(batch.commit());
    }
    for (id, record) in writes {
        good(store.records.insert(id.to_be_bytes(), record));
    }
    if let Some(mode) = store.persist {
        good(store.db.persist(mode));
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fjall_checkpoint(store: &Store) {
    good(store.records.rotate_memtable_and_wait());
}
