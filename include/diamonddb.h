/* DiamondDB 0.1.0: the C interface and its manual.
   Generated from src/ffi by tests/header.rs; change it there. */
#ifndef DIAMONDDB_H
#define DIAMONDDB_H

#include <stddef.h>
#include <stdint.h>

#define DIAMOND_VERSION "0.1.0"
#define DIAMOND_VERSION_MAJOR 0
#define DIAMOND_VERSION_MINOR 1
#define DIAMOND_VERSION_PATCH 0

/*
 * DiamondDB keeps data in one folder, inside your process: no server, no SQL.
 *
 * A table holds records of fixed width, laid out as C lays out a struct, found by a dense integer id. A batch
 * writes to several tables at once or not at all. A cursor walks a table as it was at one moment, a snapshot holds
 * all tables so, and a pin lays one open in memory.
 *
 *     diamond_db *db;
 *     diamond_table *people;
 *     struct { char name[15]; double age; } abby = {"Abby", 29}, back;
 *     const char *schema = "{\"name\": [\"string\", 15], \"age\": [\"number\", 3]}";
 *     uint64_t id;
 *
 *     if (diamond_open("folder", 6, NULL, &db) ||
 *         diamond_table_make(db, "people", 6, schema, strlen(schema), &people) ||
 *         diamond_table_save(people, &abby, sizeof abby, NULL, &id) ||
 *         diamond_table_fetch(people, id, &back, sizeof back, NULL)) puts(diamond_error_message());
 *
 * Conventions
 *
 * Status. A call that can fail returns a diamond_status: 0 is OK, the hundreds of any other say what to do about
 * it. diamond_error_message() then gives a sentence that names the table, field, id, file or argument concerned.
 * Each function's comment lists the statuses that are its own. Any call may also return MISUSE, CLOSED, FORKED,
 * NO_MEMORY and PANIC; one that reads data IO and CORRUPT; one that writes data FULL, POISONED, COMMIT_UNKNOWN
 * and, where the database is read-only, UNSUPPORTED.
 *
 * Results leave through pointers, which come last. NULL there says "not wanted", except where a handle or a
 * record comes out. After an error, handles and texts that should have come out are NULL, and the size of such a
 * text is 0; other memory is untouched where the comment does not say otherwise.
 *
 * Handles (diamond_db, diamond_table, diamond_batch, diamond_cursor, diamond_snapshot, diamond_pin) are opaque.
 * Each open, make or scan needs its close, in any order. A close consumes its handle even when it returns an error;
 * closing NULL is OK and does nothing. After the close of a database, its tables, batches, cursors and snapshots
 * answer CLOSED until they are closed too; a pin goes on. Using a handle during or after its own close is
 * undefined, as with free(); the library catches what it can as MISUSE. Using a handle with one of another database
 * is MISUSE.
 *
 * Threads. A database, its tables, snapshots and pins may be used from every thread at once. A batch or a cursor
 * may be used from every thread, one at a time; while a call is inside, another answers MISUSE. After fork() the
 * child answers FORKED; it opens the database itself once the parent has closed it, or has ended. Where other
 * threads ran at the fork, it opens with DIAMOND_OPEN_NO_THREADS: what they were in the midst of, nobody ends in the
 * child.
 *
 * Bytes and text travel as pointer and size, both in and out; NULL with size 0 is empty. Text is UTF-8 and needs
 * no final NUL. A text that comes out (char **) has one, not counted in its size, and is yours: free it with
 * diamond_free. All else that you pass in stays yours, is copied where needed and not kept after the call.
 *
 * Memory. A pointer is valid for all that its size, count or struct says, and aligned as C aligns its type; else
 * MISUSE where the library can tell. Records and null bitmaps are bytes and may lie anywhere. What a call
 * writes to overlaps nothing else that it is given.
 *
 * Structs passed by pointer open with struct_size: set it to sizeof the struct and zero the rest; zeros are the
 * defaults. 0 is MISUSE, and so is a size that ends amid a field. An older, smaller struct is accepted down to
 * the fields that the call cannot do without, and of a newer, larger one the library reads what it knows. Flags
 * are ors of constants; bits and values that the library does not know are INVALID.
 *
 * Records and nulls. A packed record is the C struct of the table's schema: fields in declared order, naturally
 * aligned, and its size is given with it (INVALID when it is not the table's). Its null bitmap is an array of
 * (fields + 7) / 8 bytes: bit f % 8 of byte f / 8 is set where field f is null; a NULL bitmap says "none" when
 * saving and "not wanted" when fetching. Null fields, padding, and text after its first NUL are stored and
 * returned as zeros.
 *
 * Ids are dense: 0, 1, 2 ... in each table, given when a record is committed, and not used again. Only what a
 * crash took back (possible for the latest commits under DIAMOND_DURABILITY_OS and DIAMOND_DURABILITY_ASYNC, and
 * after DIAMOND_COMMIT_NO_WAIT) gives its ids back too, and those can be given again.
 *
 * Limits: 64 KiB a record, 1,024 fields a table, 65,536 tables a database. Linux, 64-bit, little-endian.
 *
 * A defect of the library stops at its border: the call returns PANIC. Its database then writes nothing more
 * (POISONED) and goes on answering reads; close it and open it again, which recovers it. Other databases go on.
 */

#ifdef __cplusplus
extern "C" {
#endif


/* Statuses, messages, versions ==================================================================================== */

/**
 * The version of this interface. It rises when a program compiled against an older header must be compiled again;
 * compare with diamond_abi_version() where header and library can differ.
 */
#define DIAMOND_ABI_VERSION 1

/** A status divided by 100 is its class. */
enum {
    /** Done. */
    DIAMOND_STATUS_OK = 0,
    /** 1xx, the caller's fault: nothing changed. The call breaks a rule of this file. */
    DIAMOND_STATUS_MISUSE = 100,
    /** The database of this handle was closed. */
    DIAMOND_STATUS_CLOSED = 101,
    /** This process is a fork of the one that opened the database. */
    DIAMOND_STATUS_FORKED = 102,
    /** Called on another thread than the one it is bound to. */
    DIAMOND_STATUS_WRONG_THREAD = 103,
    /** A name, schema, record, JSON text or option is not valid. */
    DIAMOND_STATUS_INVALID = 104,
    /** This database or this version of the library cannot do that. */
    DIAMOND_STATUS_UNSUPPORTED = 105,
    /** Larger than a stated limit. */
    DIAMOND_STATUS_TOO_LARGE = 106,
    /** 2xx, an answer: nothing changed. There is nothing by that name, or the record was deleted. */
    DIAMOND_STATUS_NOT_FOUND = 200,
    /** The id was never given. */
    DIAMOND_STATUS_OUT_OF_RANGE = 201,
    /** The table exists with another schema. */
    DIAMOND_STATUS_SCHEMA_DIFFERS = 202,
    /** A record is not what the caller expected it to be, or a name is taken. */
    DIAMOND_STATUS_CONFLICT = 203,
    /** The cursor has no more records. */
    DIAMOND_STATUS_END = 204,
    /** 3xx, not now: nothing changed, trying again may help. In use in a way that excludes this call. */
    DIAMOND_STATUS_BUSY = 300,
    /** Another process holds the database. */
    DIAMOND_STATUS_LOCKED = 301,
    /** The disk, or the memory set aside, is full. */
    DIAMOND_STATUS_FULL = 302,
    /** A service that a module needs is not there at the moment. */
    DIAMOND_STATUS_UNAVAILABLE = 303,
    /** Not done in the time given. */
    DIAMOND_STATUS_TIMEOUT = 304,
    /** Given up because the caller asked for it. */
    DIAMOND_STATUS_CANCELLED = 305,
    /** 4xx, unknown: the commit may or may not be there after the next opening. */
    DIAMOND_STATUS_COMMIT_UNKNOWN = 400,
    /** 5xx, the disk. Reading failed, or the operating system refused something; nothing changed. */
    DIAMOND_STATUS_IO = 500,
    /** Bytes on disk break a rule of the format or do not match their checksum. */
    DIAMOND_STATUS_CORRUPT = 501,
    /** A write or sync failed earlier: nothing more is written until the database is opened again. */
    DIAMOND_STATUS_POISONED = 502,
    /** Not a DiamondDB database, or one of a version that this library does not know. */
    DIAMOND_STATUS_FORMAT = 503,
    /** 6xx, memory, library, modules. Not enough memory for this request. */
    DIAMOND_STATUS_NO_MEMORY = 600,
    /** A defect of the library, stopped at its border. */
    DIAMOND_STATUS_PANIC = 601,
    /** A module failed or broke its contract. */
    DIAMOND_STATUS_MODULE = 602,
};

/** What a call ended with: one of the constants below. */
typedef int32_t diamond_status;

/**
 * The sentence of this thread's last call that failed, or "" if none has. UTF-8, never NULL, not to be freed. Read
 * it right after the failure: it is valid until this thread's next call. Calls that run on threads which the
 * caller does not choose can take an error buffer (see diamond_options): the sentence is copied there as well,
 * cut to whole characters and error_size bytes, its NUL included, and only when the call fails.
 */
const char *diamond_error_message(void);

/** Frees a text that the library returned through a char **. NULL is fine. */
void diamond_free(void *text);

/** The library's version, "major.minor.patch". Not to be freed. */
const char *diamond_version(void);

/** The library's DIAMOND_ABI_VERSION. A binding refuses to load a library of another than it was written for. */
int32_t diamond_abi_version(void);


/* Module ==========================================================================================================
 *
 * Where the records of a database lie, and what remembers some of them nearer by, can be exchanged: a store and a
 * cache of the caller's own, as structs of functions (diamond_options.store and .cache), stand in the place of the
 * built-in ones. diamond_check_store_module and diamond_check_cache_module try whether one keeps its promises.
 *
 * A module's functions answer DIAMOND_MODULE_OK; whatever else they return, but for what a function's comment names,
 * is a failure, and the caller of the database gets MODULE with the text of diamond_reply_error. What they are given
 * is theirs to read during the call only. They must not throw or jump out, nor call the database that is calling
 * them: MISUSE. Without flags they are called from any thread, many at once. Each answer is checked as any other
 * input is, and where one in initialize or fetch is refused, that call has failed, whatever it returns.
 */

/**
 * What a module's function, or any other callback, returns. Success is not 0, so that one that failed halfway, as a
 * script's may, never says it by accident.
 */
enum {
    /** Done, or found. */
    DIAMOND_MODULE_OK = 20299,
    /** There is no such record. An answer of a cache's fetch, and of an item of a store's. */
    DIAMOND_MODULE_MISS = 19785,
    /** It may have been done: COMMIT_UNKNOWN. */
    DIAMOND_MODULE_AMBIGUOUS = 16725,
};

/** diamond_store_module.flags, diamond_cache_module.flags */
enum {
    /**
     * It is called only on the thread that opened the database; calls of the database that need it are WRONG_THREAD
     * on others, diamond_close among them. The database then has no thread that persists on the interval:
     * diamond_step does.
     */
    DIAMOND_MODULE_OPENING_THREAD = 1,
    /** One call at a time. */
    DIAMOND_MODULE_ONE_AT_A_TIME = 2,
    /** A store does all changes of a call or none. Without it a commit of more than one change is UNSUPPORTED. */
    DIAMOND_MODULE_ATOMIC = 4,
    /** A store finds what it has accepted at once. Without it the database remembers all that was not persisted yet. */
    DIAMOND_MODULE_IMMEDIATE = 8,
};

/** diamond_change.kind */
enum {
    /** The record is as it says from now on. */
    DIAMOND_CHANGE_STORE = 0,
    /** The record is gone. record and nulls are NULL. */
    DIAMOND_CHANGE_DELETE = 1,
};

/**
 * Where a module's function puts its answer: it is copied at once, so that nobody has to keep it. Good until that
 * function returns, on its thread; MISUSE elsewhere.
 */
typedef struct diamond_reply diamond_reply;

/** What goes with a record wherever it goes, and comes back as it was: 16 bytes to keep. */
typedef struct diamond_stamp {
    /** Grows with every change of the record. */
    uint64_t version;
    /** The database's own: it tells a record from whatever else comes back. */
    uint64_t seal;
} diamond_stamp;

/** A change of one record. */
typedef struct diamond_change {
    /** The table's number. */
    uint32_t table;
    /** DIAMOND_CHANGE_... */
    int32_t kind;
    uint64_t id;
    diamond_stamp stamp;
    const void *record;
    size_t record_size;
    const uint8_t *nulls;
    size_t nulls_size;
    /** Zeros, room for later. */
    uint64_t reserved[2];
} diamond_change;

/**
 * A store. Tables have numbers; whoever keeps records by number and id needs nothing else of them.
 *
 * It promises: (1) It keeps what it is given, record, nulls and stamp, byte for byte, and copies what it keeps.
 * (2) After persist_all everything that it accepted before is there for every later opening. (3) initialize gives the
 * text of the last update_meta that was persisted, and tells of each table the highest id and version that were ever
 * stored, deleted ones among them. (4) A table that is made begins empty, whatever was under its number; one that
 * update_meta leaves out was dropped. (5) It never answers for one record with another, and a record that is not
 * there is a miss and no failure. (6) What it cannot do fails; where it does not know, it says AMBIGUOUS.
 */
typedef struct diamond_store_module {
    size_t struct_size;
    /** DIAMOND_MODULE_... */
    uint64_t flags;
    /** Handed to every function. */
    void *context;
    /** What messages call it: text that ends in NUL, copied. NULL or empty: "of the caller". */
    const char *name;
    /** The first call: diamond_reply_meta and diamond_reply_stored say what is there. */
    int32_t (*initialize)(void *context, diamond_reply *reply);
    /**
     * A table begins. meta is a JSON object: {"table": 1, "name": "people", "next_id": 0, "record_size": 40,
     * "nulls_size": 1, "schema": {...}}.
     */
    int32_t (*make_table)(void *context, uint32_t table, const char *meta, size_t meta_size,
    diamond_reply *reply);
    /**
     * What is to be known of all tables, as JSON text: after each was made, renamed or dropped, and before each
     * persist_all. Only the newest counts.
     */
    int32_t (*update_meta)(void *context, const char *tables, size_t tables_size, diamond_reply *reply);
    /**
     * Keeps or queues changes, each of another record. items has a place for each, DIAMOND_MODULE_OK so far: whatever
     * is put there else says that this one was not done, or that it may have been (DIAMOND_MODULE_AMBIGUOUS).
     */
    int32_t (*store)(void *context, const diamond_change *changes, size_t count, int32_t *items,
    diamond_reply *reply);
    /**
     * Gives each record that is there to diamond_reply_record, with the index of its id. items has a place for each,
     * DIAMOND_MODULE_MISS so far: whatever is put there else says that this one could not be looked for.
     */
    int32_t (*fetch)(void *context, uint32_t table, const uint64_t *ids, size_t count, int32_t *items,
    diamond_reply *reply);
    /** Makes everything durable that was accepted before. */
    int32_t (*persist_all)(void *context, diamond_reply *reply);
    /**
     * The last call, if not NULL: when the database is closed, after all that ran has returned, or when a diamond_open
     * that took the module fails.
     */
    void (*destroy)(void *context);
    /** Room for groups of functions to come: NULL. */
    const void *logs;
    /** The same. */
    const void *documents;
} diamond_store_module;

/**
 * A cache.
 *
 * It promises: (1) What it has of a record is the newest change that it was told, byte for byte; a change older than
 * what it has is ignored, and a deleted record is a miss. (2) It may forget whatever it likes, but never answers for
 * one record with another. (3) After clear it has nothing. (4) It copies what it keeps.
 *
 * It is never the truth: where it fails it is bypassed, and counted in diamond_stats. Before its first use it is
 * cleared, and so it is after a change that it failed to hear of.
 */
typedef struct diamond_cache_module {
    size_t struct_size;
    /** DIAMOND_MODULE_OPENING_THREAD, DIAMOND_MODULE_ONE_AT_A_TIME */
    uint64_t flags;
    /** Handed to every function. */
    void *context;
    /** What messages call it: text that ends in NUL, copied. NULL or empty: "of the caller". */
    const char *name;
    /** A record was saved, fetched or deleted. */
    int32_t (*store)(void *context, const diamond_change *change, diamond_reply *reply);
    /** Gives the record to diamond_reply_record, with index 0, or answers DIAMOND_MODULE_MISS. */
    int32_t (*fetch)(void *context, uint32_t table, uint64_t id, diamond_reply *reply);
    /** Forgets everything. */
    int32_t (*clear)(void *context, diamond_reply *reply);
    /** The last call, if not NULL: as a store's. */
    void (*destroy)(void *context);
} diamond_cache_module;

/** Says why a module's function fails, in 4,096 bytes at most; the rest is left out. */
diamond_status diamond_reply_error(diamond_reply *reply, const char *text, size_t size);

/** In initialize: the text of the last update_meta that was persisted. Not called where there was none. */
diamond_status diamond_reply_meta(diamond_reply *reply, const char *tables, size_t size);

/**
 * In initialize: a record with this id and version was once stored in this table. The highest of each are enough,
 * told at once or apart.
 */
diamond_status diamond_reply_stored(diamond_reply *reply, uint32_t table, uint64_t id, uint64_t version);

/**
 * In fetch: the record with the id at index.
 *
 * INVALID: its sizes are not those of the table's records, or there is an answer for that id already.
 */
diamond_status diamond_reply_record(diamond_reply *reply, size_t index, const diamond_stamp *stamp,
    const void *record, size_t record_size, const uint8_t *nulls, size_t nulls_size);

/**
 * Tries a store. again is another over the same data, or NULL: it is initialized after module was destroyed, to see
 * what it finds. Both are destroyed in the end. module is one for a new, empty place, and what is there afterwards is
 * of no use.
 *
 * report becomes a JSON text, {"module": "...", "promises": [{"promise": "...", "kept": true, "broken": null}, ...]};
 * broken says how. Free it with diamond_free.
 *
 * MODULE: a promise is broken; the sentence names the first, and the report comes out nevertheless. UNSUPPORTED,
 * INVALID: a struct is not one of a module; none is destroyed.
 */
diamond_status diamond_check_store_module(const diamond_store_module *module,
    const diamond_store_module *again, char **report, size_t *size);

/**
 * Tries a cache, and destroys it. report as that of diamond_check_store_module.
 *
 * MODULE: a promise is broken; the sentence names the first, and the report comes out nevertheless. UNSUPPORTED,
 * INVALID: a struct is not one of a module; none is destroyed.
 */
diamond_status diamond_check_cache_module(const diamond_cache_module *module, char **report, size_t *size);


/* Database ======================================================================================================== */

/** diamond_options.durability: what a call that commits waits for, and so what its commit survives. */
enum {
    /** A power cut. The default. */
    DIAMOND_DURABILITY_SYNC = 0,
    /** The end of the process, kill -9 among the ways. */
    DIAMOND_DURABILITY_OS = 1,
    /** Neither, until the next interval, diamond_flush or diamond_close. */
    DIAMOND_DURABILITY_ASYNC = 2,
};

/** diamond_options.flags */
enum {
    /** Do not make a database where there is none: NOT_FOUND. */
    DIAMOND_OPEN_MUST_EXIST = 1,
    /** Every verb that writes answers UNSUPPORTED. */
    DIAMOND_OPEN_READ_ONLY = 2,
    /** Start no thread; the host calls diamond_step. */
    DIAMOND_OPEN_NO_THREADS = 4,
    /** Open on a network file system too, where locks and syncs may not keep their promises. */
    DIAMOND_OPEN_FORCE_NETWORK = 8,
    /** Read clean pages by pread and not through a map: slower, but a bad sector is IO and not a SIGBUS. */
    DIAMOND_OPEN_READ_WITH_PREAD = 16,
    /** Keep everything in memory, and nothing on disk: path is only a name, and may be empty. */
    DIAMOND_OPEN_IN_MEMORY = 32,
};

/** An open database. */
typedef struct diamond_db diamond_db;

/** How to open a database. All zeros but struct_size are the defaults. */
typedef struct diamond_options {
    size_t struct_size;
    /** DIAMOND_OPEN_... */
    uint64_t flags;
    /** DIAMOND_DURABILITY_... */
    int32_t durability;
    /** DIAMOND_DURABILITY_ASYNC syncs by itself this often. 0: 1,000 ms. */
    uint32_t interval_ms;
    /** Bytes of changed memory that start a checkpoint. 0: an eighth of the machine's memory. */
    uint64_t dirty_soft;
    /** Bytes of changed memory at which writers wait for the checkpoint. 0: a quarter of the machine's memory. */
    uint64_t dirty_hard;
    /** Where the records lie. NULL: in the database's folder. With a store path is only a name, and may be empty. */
    const diamond_store_module *store;
    /** What remembers records nearer by. NULL: nothing, which is right for records in the folder. */
    const diamond_cache_module *cache;
    /** If not NULL, a failing diamond_open copies its sentence here. */
    char *error;
    /** Bytes at error, the final NUL included. */
    size_t error_size;
    /** Bytes of memory for the built-in cache, of the records used last. 0: no such cache. */
    uint64_t cache_bytes;
} diamond_options;

/** How to back up. All zeros but struct_size are the defaults. */
typedef struct diamond_backup_options {
    size_t struct_size;
    /** None yet: 0. */
    uint64_t flags;
    /**
     * If not NULL, called before the first page is copied, after the last, and every few megabytes between, on the
     * thread of the call and under no lock: so many bytes of so many are copied. Returns DIAMOND_MODULE_OK;
     * whatever else calls the backup off. It must not use this database, nor throw or jump out.
     */
    int32_t (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    /** Handed to progress. */
    void *context;
    /** If not NULL, a failing diamond_backup copies its sentence here. */
    char *error;
    /** Bytes at error, the final NUL included. */
    size_t error_size;
} diamond_backup_options;

/**
 * Opens the database in the folder at path, and makes both where they are missing. path is the bytes of a file
 * name, with no NUL inside. options may be NULL. A second open in this process shares what the first opened, and
 * each needs its close.
 *
 * A store or a cache in the options is a module (above). Where a flag or one of the two is refused, neither is taken.
 * Else the structs are copied and each is destroyed once, also where the open fails for another reason. Every open
 * with a store is a database of its own.
 *
 * BUSY: open in this process with other options. LOCKED: open in another process, whose pid the message tells.
 * NOT_FOUND: see DIAMOND_OPEN_MUST_EXIST. FORMAT, CORRUPT: the folder is not, or no longer, a database.
 * INVALID: a path or option without meaning.
 */
diamond_status diamond_open(const char *path, size_t path_size, const diamond_options *options,
    diamond_db **db);

/**
 * Closes it: waits for running calls, makes all that was committed durable, and says whether that went well. When
 * the database was opened more than once in this process, the last close does so. Its tables, batches, cursors and
 * snapshots answer CLOSED from now on, and need their own closes still. A pin counts as an opening: what was
 * committed is durable after this call, but the folder is unlocked by the last diamond_pin_close.
 *
 * WRONG_THREAD: a module of it works only on the thread that opened it. It stays open, to be closed there.
 */
diamond_status diamond_close(diamond_db *db);

/** Makes all that was committed before the call durable against a power cut, whatever the durability. */
diamond_status diamond_flush(diamond_db *db);

/**
 * Writes changed pages to their files and shortens the write-ahead log, so that the next opening is quick. The
 * library does so by itself; before a copy of the folder or a long rest one may ask for it.
 */
diamond_status diamond_checkpoint(diamond_db *db);

/**
 * Does upkeep for about budget_us microseconds at most: what a database opened with DIAMOND_OPEN_NO_THREADS asks
 * of its host, for instance whenever its event loop is idle. more becomes 1 if work is left, else 0; NULL: not
 * wanted.
 */
diamond_status diamond_step(diamond_db *db, uint32_t budget_us, int32_t *more);

/**
 * Waits until the commit lsn, and with it every earlier one, is on disk; under DIAMOND_DURABILITY_OS, until the
 * operating system has it. lsn 0: all that is visible now, for who must not act on what a crash could take back.
 * timeout_ms 0 only asks, UINT32_MAX waits for ever. error may be NULL; else a failure copies its sentence to the
 * error_size bytes there.
 *
 * TIMEOUT: not yet. COMMIT_UNKNOWN, POISONED: it will not become durable any more.
 */
diamond_status diamond_wait_durable(diamond_db *db, uint64_t lsn, uint32_t timeout_ms, char *error,
    size_t error_size);

/**
 * Reads everything and checks it. report becomes a JSON text,
 * {"tables": 1, "pages": 2, "records": 3, "findings": [{"file": "...", "message": "..."}, ...]}.
 *
 * CORRUPT: there are findings; the report comes out nevertheless.
 */
diamond_status diamond_verify(diamond_db *db, char **report, size_t *size);

/**
 * Copies the database, as it is now, to the folder at path, which must be empty or not there yet and lie outside the
 * database's own. Commits, checkpoints and all else go on meanwhile and are not in the copy; pages that it still
 * needs while they change count as changed memory. What the copy holds is durable in the database, too. The copy is a
 * database of its own, cleanly closed. options may be NULL.
 *
 * After an error the folder is as it was, as far as the disk allows. What a crash leaves there is refused by
 * diamond_open, unless the copy is whole.
 *
 * CANCELLED: progress did not return DIAMOND_MODULE_OK. CORRUPT: a page does not match its checksum; the sentence
 * names it. INVALID: the folder is not empty, or lies in the database's. LOCKED: another backup goes there. FULL, IO:
 * the disk of the copy, or the database's. FORMAT: the folder holds a backup that was not finished; remove it.
 */
diamond_status diamond_backup(diamond_db *db, const char *path, size_t path_size,
    const diamond_backup_options *options);

/**
 * What the database has done and holds, as a JSON object in json. Its keys may grow with versions. What scans and
 * snapshots cost is in "snapshots" (how many are open), "oldest_snapshot_age_ms", "oldest_snapshot_lsn" and
 * "old_image_bytes"; what pins cost in "pins", "pin_bytes_kept" (memory) and "pin_bytes_mapped" (addresses).
 */
diamond_status diamond_stats(diamond_db *db, char **json, size_t *size);


/* Table ===========================================================================================================
 *
 * A schema is a JSON object, its keys the fields in the order of the C struct:
 * {"name": ["string", 15, "required"], "age": ["number", 3], "seen": ["timestamp"]}
 *
 *     type                             in C                 in JSON
 *     ["string", n]                    char[n]              string of at most n bytes of UTF-8
 *     ["string", n, "characters"]      char[3 * n]          string of at most n UTF-16 units
 *     ["bytes", n]                     uint8_t[n]           standard base64 with padding
 *     ["number", n], n up to 24        double               number whose shortest text has at most n characters
 *     ["i8"] ... ["i64"]               int8_t ... int64_t   integer, or its decimal text
 *     ["u8"] ... ["u64"]               uint8_t ...          the same
 *     ["f32"], ["f64"]                 float, double        number, finite
 *     ["bool"]                         uint8_t, 0 or 1      true, false
 *     ["timestamp"]                    int64_t              RFC 3339 text with offset, or an integer
 *
 * A timestamp is microseconds since 1970 UTC. "required" as the last element refuses null. In JSON a record is an
 * object; a field that it leaves out is null, a key that the schema does not have is refused. Packed and JSON
 * records are held to the same rules. In what comes out as JSON, integers beyond 2^53 are always text.
 *
 * A verb on an id that was never given answers OUT_OF_RANGE, on a deleted one NOT_FOUND. A record that the schema
 * refuses is INVALID, by field and value, and takes no id.
 */

/** Flags of the calls that give JSON. */
enum {
    /** Every i64 and u64 as text, not only those beyond 2^53. */
    DIAMOND_JSON_INT64_AS_TEXT = 1,
};

/** An open table. */
typedef struct diamond_table diamond_table;

/**
 * Many packed records in the caller's memory, stride bytes apart; how many is said beside it. A stride of 0 says
 * that nothing lies between: the record size, and (fields + 7) / 8 for nulls. What a longer stride leaves between
 * two is neither read nor written. A call that saves or replaces only reads them.
 */
typedef struct diamond_records {
    size_t struct_size;
    void *records;
    size_t record_stride;
    /** Their null bitmaps, or NULL. */
    uint8_t *nulls;
    size_t null_stride;
} diamond_records;

/**
 * What diamond_table_save_by needs and gives, in one struct: for languages in which each argument costs. Kept and
 * used again by one thread, it saves building them.
 */
typedef struct diamond_save_request {
    size_t struct_size;
    diamond_table *table;
    const void *record;
    size_t record_size;
    const uint8_t *nulls;
    /** Becomes the record's id. */
    uint64_t id;
    /** If not NULL, a failure copies its sentence here. */
    char *error;
    /** Bytes at error, the final NUL included. */
    size_t error_size;
} diamond_save_request;

/** What diamond_table_fetch_by needs, in one struct; see diamond_save_request. */
typedef struct diamond_fetch_request {
    size_t struct_size;
    diamond_table *table;
    uint64_t id;
    void *record;
    size_t record_size;
    uint8_t *nulls;
    /** If not NULL, a failure copies its sentence here. */
    char *error;
    /** Bytes at error, the final NUL included. */
    size_t error_size;
} diamond_fetch_request;

/**
 * Opens the table, and makes it where there is none by that name. Names are UTF-8.
 *
 * SCHEMA_DIFFERS: it exists with another schema (the order counts); the message says how. INVALID: the name or
 * the schema. TOO_LARGE: a limit.
 */
diamond_status diamond_table_make(diamond_db *db, const char *name, size_t name_size, const char *schema,
    size_t schema_size, diamond_table **table);

/** Opens a table that is there. NOT_FOUND: it is not. */
diamond_status diamond_table_open(diamond_db *db, const char *name, size_t name_size, diamond_table **table);

/** Closes the handle; the table stays. A handle from diamond_snapshot_table lets go of its moment. */
diamond_status diamond_table_close(diamond_table *table);

/**
 * Deletes the table with all its records, and gives its room on disk back. Handles of it answer NOT_FOUND from
 * then on. NOT_FOUND: there is none by that name.
 */
diamond_status diamond_table_drop(diamond_db *db, const char *name, size_t name_size);

/**
 * Gives the table another name. Its handles stay open.
 *
 * CONFLICT: the new name is taken. NOT_FOUND: there is none by the old one.
 */
diamond_status diamond_table_rename(diamond_db *db, const char *name, size_t name_size, const char *new_name,
    size_t new_name_size);

/**
 * All tables by name, as JSON in json:
 * [{"name": "people", "next_id": 3, "count": 2, "record_size": 24, "slot_size": 32}, ...]; sizes in bytes.
 */
diamond_status diamond_table_list(diamond_db *db, char **json, size_t *size);

/** The table's name at this moment. */
diamond_status diamond_table_name(diamond_table *table, char **name, size_t *size);

/** The table's schema, as diamond_table_make takes it. */
diamond_status diamond_table_schema(diamond_table *table, char **json, size_t *size);

/**
 * Where everything in a packed record lies, as a JSON object: "record_size", "alignment" and "nulls_size";
 * "slot_size", "state_offset" and "nulls_offset" for who reads slots in place; and "fields", an array with "name",
 * "type", "offset" and "size" of each, "width" where its type has one, "characters" and "required" where they are
 * true. All in bytes. Other languages build their decoders from it; a C program can hold its struct against it.
 */
diamond_status diamond_table_layout(diamond_table *table, char **json, size_t *size);

/** How many records the table has: saved and not deleted. */
diamond_status diamond_table_count(diamond_table *table, uint64_t *count);

/** The id that the next save will get, if no other save comes before it. */
diamond_status diamond_table_next_id(diamond_table *table, uint64_t *id);

/** Saves a packed record, commits it, and tells its id. nulls may be NULL. */
diamond_status diamond_table_save(diamond_table *table, const void *record, size_t record_size,
    const uint8_t *nulls, uint64_t *id);

/**
 * Copies the record into the record_size bytes at record, and which of its fields are null into nulls, if that is
 * not NULL. After an error both may hold anything.
 */
diamond_status diamond_table_fetch(diamond_table *table, uint64_t id, void *record, size_t record_size,
    uint8_t *nulls);

/** Replaces the record by another, and commits. */
diamond_status diamond_table_replace(diamond_table *table, uint64_t id, const void *record, size_t record_size,
    const uint8_t *nulls);

/** Replaces the record only if it still is what the caller read. CONFLICT: it is not; read it again and decide. */
diamond_status diamond_table_replace_if(diamond_table *table, uint64_t id, const void *expected,
    size_t expected_size, const uint8_t *expected_nulls, const void *record, size_t record_size,
    const uint8_t *nulls);

/** Deletes the record, and commits. Its id is not given again. */
diamond_status diamond_table_delete(diamond_table *table, uint64_t id);

/** Deletes the record only if it still is what the caller read. CONFLICT: it is not. */
diamond_status diamond_table_delete_if(diamond_table *table, uint64_t id, const void *expected,
    size_t expected_size, const uint8_t *expected_nulls);

/** Saves count records in one commit: all or none. Their ids follow each other from first_id on. */
diamond_status diamond_table_save_many(diamond_table *table, const diamond_records *records, size_t count,
    uint64_t *first_id);

/**
 * Fetches count records, tries each, and returns the first failure. statuses may be NULL; else each of its count
 * elements becomes the status of its record. A record whose status is not OK may hold anything.
 */
diamond_status diamond_table_fetch_many(diamond_table *table, const uint64_t *ids, size_t count,
    const diamond_records *records, diamond_status *statuses);

/** Replaces count records in one commit: all or none. */
diamond_status diamond_table_replace_many(diamond_table *table, const uint64_t *ids, size_t count,
    const diamond_records *records);

/** Deletes count records in one commit: all or none. */
diamond_status diamond_table_delete_many(diamond_table *table, const uint64_t *ids, size_t count);

/** diamond_table_save of a record as a JSON object. */
diamond_status diamond_table_save_json(diamond_table *table, const char *json, size_t json_size, uint64_t *id);

/**
 * diamond_table_save_many of records as a JSON array of objects; count becomes how many there were. TOO_LARGE: they
 * take more than 256 MiB.
 */
diamond_status diamond_table_save_many_json(diamond_table *table, const char *json, size_t json_size,
    uint64_t *first_id, size_t *count);

/** The record as a JSON object. */
diamond_status diamond_table_fetch_json(diamond_table *table, uint64_t id, uint32_t flags, char **json,
    size_t *size);

/**
 * count records as a JSON array, null where one could not be fetched; else as diamond_table_fetch_many. When some
 * fail, the first failure is returned and the array comes out nevertheless: free it if it is not NULL.
 */
diamond_status diamond_table_fetch_many_json(diamond_table *table, const uint64_t *ids, size_t count,
    uint32_t flags, char **json, size_t *size, diamond_status *statuses);

/** diamond_table_replace by a record as a JSON object. */
diamond_status diamond_table_replace_json(diamond_table *table, uint64_t id, const char *json,
    size_t json_size);

/** diamond_table_replace_if of records as JSON objects. */
diamond_status diamond_table_replace_if_json(diamond_table *table, uint64_t id, const char *expected,
    size_t expected_size, const char *json, size_t json_size);

/** diamond_table_replace_many by records as a JSON array of count objects. TOO_LARGE: they take more than 256 MiB. */
diamond_status diamond_table_replace_many_json(diamond_table *table, const uint64_t *ids, size_t count,
    const char *json, size_t json_size);

/** diamond_table_save of what request names; the new id goes into it. */
diamond_status diamond_table_save_by(diamond_save_request *request);

/** diamond_table_fetch of what request names. */
diamond_status diamond_table_fetch_by(const diamond_fetch_request *request);


/* Batch ===========================================================================================================
 *
 * A batch is writes to any tables of one database, and expectations of what records still are. Commit does all
 * of it or none, also through a crash. Nothing is written, and no id given, before commit. So one reads, decides,
 * batches what follows together with an expectation for what was read, commits, and starts over at CONFLICT: no
 * lock is needed.
 *
 * One thread at a time. Records are copied into the batch and checked at once: a call that adds and fails adds
 * nothing.
 */

/** Flags of diamond_batch_commit. */
enum {
    /** Do not wait until the commit is durable: diamond_wait_durable does, with its lsn, for it and all before it. */
    DIAMOND_COMMIT_NO_WAIT = 1,
};

/** An open batch. */
typedef struct diamond_batch diamond_batch;

/** Opens an empty batch. */
diamond_status diamond_batch_open(diamond_db *db, diamond_batch **batch);

/** Adds the saving of a packed record; its id comes with the commit. */
diamond_status diamond_batch_save(diamond_batch *batch, diamond_table *table, const void *record,
    size_t record_size, const uint8_t *nulls);

/** Adds the saving of a record as a JSON object. */
diamond_status diamond_batch_save_json(diamond_batch *batch, diamond_table *table, const char *json,
    size_t json_size);

/** Adds the replacing of a record by a packed one. */
diamond_status diamond_batch_replace(diamond_batch *batch, diamond_table *table, uint64_t id,
    const void *record, size_t record_size, const uint8_t *nulls);

/** Adds the replacing of a record by one as a JSON object. */
diamond_status diamond_batch_replace_json(diamond_batch *batch, diamond_table *table, uint64_t id,
    const char *json, size_t json_size);

/** Adds the deleting of a record. */
diamond_status diamond_batch_delete(diamond_batch *batch, diamond_table *table, uint64_t id);

/** Adds an expectation: when the batch is committed, the record is what the caller read, else CONFLICT. */
diamond_status diamond_batch_expect(diamond_batch *batch, diamond_table *table, uint64_t id,
    const void *record, size_t record_size, const uint8_t *nulls);

/** diamond_batch_expect of a record as a JSON object. */
diamond_status diamond_batch_expect_json(diamond_batch *batch, diamond_table *table, uint64_t id,
    const char *json, size_t json_size);

/**
 * Commits: all of the batch or nothing. The ids of its saves, over all tables in the order in which they were
 * added, go to ids; ids_count is how many fit there (MISUSE if more are saved). lsn becomes the commit's place in
 * the order of all commits. Both may be NULL.
 *
 * After OK the batch is empty and can be used again; after a 1xx, 2xx or 3xx it is as it was; after any other,
 * close it. CONFLICT: an expectation does not hold. NOT_FOUND, OUT_OF_RANGE: a record to replace or delete is not
 * there.
 */
diamond_status diamond_batch_commit(diamond_batch *batch, uint32_t flags, uint64_t *ids, size_t ids_count,
    uint64_t *lsn);

/** Closes the batch. What was not committed is given up and leaves no trace. */
diamond_status diamond_batch_close(diamond_batch *batch);


/* Cursor ==========================================================================================================
 *
 * A cursor walks a table in the order of its ids. It sees exactly what was committed when it was opened, whatever
 * is written meanwhile, and keeps no writer waiting. One thread at a time.
 */

/** diamond_scan_options.flags */
enum {
    /** From the highest id down. */
    DIAMOND_SCAN_REVERSE = 1,
};

/** An open cursor. */
typedef struct diamond_cursor diamond_cursor;

/** Which records a cursor visits. All zeros but struct_size: all, from the lowest id up. */
typedef struct diamond_scan_options {
    size_t struct_size;
    /** DIAMOND_SCAN_... */
    uint64_t flags;
    /** The lowest id. */
    uint64_t first_id;
    /** The id behind the highest. 0: all. */
    uint64_t end_id;
} diamond_scan_options;

/** Opens a cursor before the first record. options may be NULL. */
diamond_status diamond_table_scan(diamond_table *table, const diamond_scan_options *options,
    diamond_cursor **cursor);

/**
 * Copies the next record to record and nulls, as diamond_table_fetch does, and tells its id. END: there is none;
 * nothing is written.
 */
diamond_status diamond_cursor_next(diamond_cursor *cursor, uint64_t *id, void *record, size_t record_size,
    uint8_t *nulls);

/**
 * Copies up to capacity next records and their ids; count becomes how many. Fewer than capacity does not mean that
 * there are no more. END: there are none, and count is 0.
 */
diamond_status diamond_cursor_next_many(diamond_cursor *cursor, uint64_t *ids, size_t capacity,
    const diamond_records *records, size_t *count);

/** The next record as a JSON object, and its id. END: there is none. */
diamond_status diamond_cursor_next_json(diamond_cursor *cursor, uint32_t flags, uint64_t *id, char **json,
    size_t *size);

/** Closes the cursor. */
diamond_status diamond_cursor_close(diamond_cursor *cursor);


/* Snapshot ========================================================================================================
 *
 * A snapshot is all tables as they were when it was opened, whatever is written since. Its tables take every verb
 * that reads: fetch, scan, count, next id, name, schema, layout, pin. Every verb that writes is UNSUPPORTED.
 *
 * While a snapshot or a table of it is open, pages that are changed are kept in memory as they were, within
 * diamond_options.dirty_hard. Where that is full, writes answer FULL and name the oldest of those who hold memory.
 */

/** An open snapshot. */
typedef struct diamond_snapshot diamond_snapshot;

/** Opens a snapshot of what is committed now. Waits for nothing. */
diamond_status diamond_snapshot_open(diamond_db *db, diamond_snapshot **snapshot);

/**
 * Opens a table as of the snapshot, by the name that it had then. Close it as any other; until then it holds the
 * moment, even where the snapshot is closed before.
 *
 * NOT_FOUND: there was none by that name, or it was dropped since, and its pages are gone. A handle of a table that
 * is dropped later answers the same from then on.
 */
diamond_status diamond_snapshot_table(diamond_snapshot *snapshot, const char *name, size_t name_size,
    diamond_table **table);

/** Closes the snapshot. */
diamond_status diamond_snapshot_close(diamond_snapshot *snapshot);


/* Pin =============================================================================================================
 *
 * A pin lays all slots of a table open in one piece of memory, as they were at one moment, for programs that read
 * the array itself:
 *
 *     diamond_slots slots = {.struct_size = sizeof slots};
 *     diamond_pin *pin;
 *
 *     if (diamond_pin_open(people, &slots, &pin)) puts(diamond_error_message());
 *     for (uint64_t id = 0; id < slots.count; id++) {
 *         const uint8_t *slot = slots.base + id * slots.stride;
 *         if (slot[slots.state_offset] == 0) continue;                             // Never there, or deleted.
 *         int no_age = slot[slots.nulls_offset + 1 / 8] & 1 << 1 % 8;              // Field 1 is null.
 *         sum += no_age ? 0 : ((const person *)slot)->age;
 *     }
 *     diamond_pin_close(pin);
 *
 * The memory is only to be read. It stays as it is until diamond_pin_close, whatever is written, and even after the
 * table was dropped or the database closed. A child of fork() does not have it.
 *
 * The memory is a map of the table's file. Every page was compared with its checksum before; pages that are changed
 * afterwards are kept for the pin in memory and count as for a snapshot. Any number of pins may be open, each at its
 * own moment. With DIAMOND_OPEN_READ_WITH_PREAD a pin is a copy; else a bad sector of the device is a SIGBUS where it
 * is touched, as with any map.
 */

/** An open pin. */
typedef struct diamond_pin diamond_pin;

/** Where the slots of a pinned table lie. */
typedef struct diamond_slots {
    size_t struct_size;
    /** Slot 0, which begins with the record of id 0. Aligned for every type. NULL if count is 0. */
    const uint8_t *base;
    /** From one slot to the next. */
    size_t stride;
    /** The size of a packed record. */
    size_t record_size;
    /**
     * Where in a slot the byte is that is 1 if the record is there and 0 if not. It and the null bitmap may lie in
     * the record's tail padding.
     */
    size_t state_offset;
    /** Where in a slot the null bitmap is. */
    size_t nulls_offset;
    /** How many slots there are. Only these may be read. */
    uint64_t count;
} diamond_slots;

/**
 * Pins the table as of now, or a table of a snapshot as of then, and fills slots. Makes a checkpoint, if the database
 * is not read-only, and reads the whole table.
 *
 * CORRUPT: a page does not match its checksum; the message names it. FULL: what would have to be kept in memory is
 * over diamond_options.dirty_hard. NO_MEMORY: no memory or no addresses.
 */
diamond_status diamond_pin_open(diamond_table *table, diamond_slots *slots, diamond_pin **pin);

/**
 * Closes the pin and gives its memory back. If the database was closed before and nothing else has it open, this
 * shuts it down and unlocks the folder, and says whether that went well.
 *
 * FORKED: in a child of fork() nothing is touched, and the parent's pin stays.
 */
diamond_status diamond_pin_close(diamond_pin *pin);

#ifdef __cplusplus
}
#endif

#endif /* DIAMONDDB_H */
