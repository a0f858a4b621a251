// include/diamonddb.h, line by line: its constants, structs and functions, and nothing else.
//
// The declarations below are C, read by a few lines of code, so that a test can hand them to a C compiler beside the
// header. What a programmer of JavaScript uses is in index.js.
//
// 1. A pointer is an address, and an address is a number: those of a process lie below 2^47. So both back ends take
//    and give the same values, and a request can be made on one thread and run on another.
// 2. Who gives an address keeps what lies there until the call has returned: src/memory.js says how.
'use strict';

/** What a C type is to a back end. Whatever has a * is an address. */
const KINDS = {
  int32_t: 'i32', uint32_t: 'u32', uint64_t: 'u64', size_t: 'size', diamond_status: 'i32', void: 'void',
};
const SIZES = { i32: 4, u32: 4, u64: 8, size: 8, address: 8 };

/** Every constant of the header. */
const constants = {
  DIAMOND_ABI_VERSION: 1,
  DIAMOND_STATUS_OK: 0, DIAMOND_STATUS_MISUSE: 100, DIAMOND_STATUS_CLOSED: 101, DIAMOND_STATUS_FORKED: 102,
  DIAMOND_STATUS_WRONG_THREAD: 103, DIAMOND_STATUS_INVALID: 104, DIAMOND_STATUS_UNSUPPORTED: 105,
  DIAMOND_STATUS_TOO_LARGE: 106, DIAMOND_STATUS_NOT_FOUND: 200, DIAMOND_STATUS_OUT_OF_RANGE: 201,
  DIAMOND_STATUS_SCHEMA_DIFFERS: 202, DIAMOND_STATUS_CONFLICT: 203, DIAMOND_STATUS_END: 204,
  DIAMOND_STATUS_BUSY: 300, DIAMOND_STATUS_LOCKED: 301, DIAMOND_STATUS_FULL: 302, DIAMOND_STATUS_UNAVAILABLE: 303,
  DIAMOND_STATUS_TIMEOUT: 304, DIAMOND_STATUS_CANCELLED: 305, DIAMOND_STATUS_COMMIT_UNKNOWN: 400,
  DIAMOND_STATUS_IO: 500, DIAMOND_STATUS_CORRUPT: 501, DIAMOND_STATUS_POISONED: 502, DIAMOND_STATUS_FORMAT: 503,
  DIAMOND_STATUS_NO_MEMORY: 600, DIAMOND_STATUS_PANIC: 601, DIAMOND_STATUS_MODULE: 602,
  DIAMOND_MODULE_OK: 20299, DIAMOND_MODULE_MISS: 19785, DIAMOND_MODULE_AMBIGUOUS: 16725,
  DIAMOND_MODULE_OPENING_THREAD: 1, DIAMOND_MODULE_ONE_AT_A_TIME: 2, DIAMOND_MODULE_ATOMIC: 4,
  DIAMOND_MODULE_IMMEDIATE: 8,
  DIAMOND_CHANGE_STORE: 0, DIAMOND_CHANGE_DELETE: 1,
  DIAMOND_DURABILITY_SYNC: 0, DIAMOND_DURABILITY_OS: 1, DIAMOND_DURABILITY_ASYNC: 2,
  DIAMOND_OPEN_MUST_EXIST: 1, DIAMOND_OPEN_READ_ONLY: 2, DIAMOND_OPEN_NO_THREADS: 4, DIAMOND_OPEN_FORCE_NETWORK: 8,
  DIAMOND_OPEN_READ_WITH_PREAD: 16, DIAMOND_OPEN_IN_MEMORY: 32,
  DIAMOND_JSON_INT64_AS_TEXT: 1,
  DIAMOND_COMMIT_NO_WAIT: 1,
  DIAMOND_SCAN_REVERSE: 1,
};

/** Every struct, its fields as C declares them. */
const structs = layOut({
  diamond_stamp: `
    uint64_t version;
    uint64_t seal;
  `,
  diamond_change: `
    uint32_t table;
    int32_t kind;
    uint64_t id;
    diamond_stamp stamp;
    const void *record;
    size_t record_size;
    const uint8_t *nulls;
    size_t nulls_size;
    uint64_t reserved[2];
  `,
  diamond_store_module: `
    size_t struct_size;
    uint64_t flags;
    void *context;
    const char *name;
    int32_t (*initialize)(void *context, diamond_reply *reply);
    int32_t (*make_table)(void *context, uint32_t table, const char *meta, size_t meta_size, diamond_reply
      *reply);
    int32_t (*update_meta)(void *context, const char *tables, size_t tables_size, diamond_reply *reply);
    int32_t (*store)(void *context, const diamond_change *changes, size_t count, int32_t *items, diamond_reply
      *reply);
    int32_t (*fetch)(void *context, uint32_t table, const uint64_t *ids, size_t count, int32_t *items,
      diamond_reply *reply);
    int32_t (*persist_all)(void *context, diamond_reply *reply);
    void (*destroy)(void *context);
    const void *logs;
    const void *documents;
  `,
  diamond_cache_module: `
    size_t struct_size;
    uint64_t flags;
    void *context;
    const char *name;
    int32_t (*store)(void *context, const diamond_change *change, diamond_reply *reply);
    int32_t (*fetch)(void *context, uint32_t table, uint64_t id, diamond_reply *reply);
    int32_t (*clear)(void *context, diamond_reply *reply);
    void (*destroy)(void *context);
  `,
  diamond_options: `
    size_t struct_size;
    uint64_t flags;
    int32_t durability;
    uint32_t interval_ms;
    uint64_t dirty_soft;
    uint64_t dirty_hard;
    const diamond_store_module *store;
    const diamond_cache_module *cache;
    char *error;
    size_t error_size;
    uint64_t cache_bytes;
  `,
  diamond_backup_options: `
    size_t struct_size;
    uint64_t flags;
    int32_t (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
    char *error;
    size_t error_size;
  `,
  diamond_records: `
    size_t struct_size;
    void *records;
    size_t record_stride;
    uint8_t *nulls;
    size_t null_stride;
  `,
  diamond_save_request: `
    size_t struct_size;
    diamond_table *table;
    const void *record;
    size_t record_size;
    const uint8_t *nulls;
    uint64_t id;
    char *error;
    size_t error_size;
  `,
  diamond_fetch_request: `
    size_t struct_size;
    diamond_table *table;
    uint64_t id;
    void *record;
    size_t record_size;
    uint8_t *nulls;
    char *error;
    size_t error_size;
  `,
  diamond_scan_options: `
    size_t struct_size;
    uint64_t flags;
    uint64_t first_id;
    uint64_t end_id;
  `,
  diamond_slots: `
    size_t struct_size;
    const uint8_t *base;
    size_t stride;
    size_t record_size;
    size_t state_offset;
    size_t nulls_offset;
    uint64_t count;
  `,
});

/** Every function, as C declares it. */
const functions = declared(`
  const char *diamond_error_message(void);
  void diamond_free(void *text);
  const char *diamond_version(void);
  int32_t diamond_abi_version(void);
  diamond_status diamond_reply_error(diamond_reply *reply, const char *text, size_t size);
  diamond_status diamond_reply_meta(diamond_reply *reply, const char *tables, size_t size);
  diamond_status diamond_reply_stored(diamond_reply *reply, uint32_t table, uint64_t id, uint64_t version);
  diamond_status diamond_reply_record(diamond_reply *reply, size_t index, const diamond_stamp *stamp, const void
    *record, size_t record_size, const uint8_t *nulls, size_t nulls_size);
  diamond_status diamond_check_store_module(const diamond_store_module *module, const diamond_store_module *again,
    char **report, size_t *size);
  diamond_status diamond_check_cache_module(const diamond_cache_module *module, char **report, size_t *size);
  diamond_status diamond_open(const char *path, size_t path_size, const diamond_options *options, diamond_db
    **db);
  diamond_status diamond_close(diamond_db *db);
  diamond_status diamond_flush(diamond_db *db);
  diamond_status diamond_checkpoint(diamond_db *db);
  diamond_status diamond_step(diamond_db *db, uint32_t budget_us, int32_t *more);
  diamond_status diamond_wait_durable(diamond_db *db, uint64_t lsn, uint32_t timeout_ms, char *error, size_t
    error_size);
  diamond_status diamond_verify(diamond_db *db, char **report, size_t *size);
  diamond_status diamond_backup(diamond_db *db, const char *path, size_t path_size, const diamond_backup_options
    *options);
  diamond_status diamond_stats(diamond_db *db, char **json, size_t *size);
  diamond_status diamond_table_make(diamond_db *db, const char *name, size_t name_size, const char *schema, size_t
    schema_size, diamond_table **table);
  diamond_status diamond_table_open(diamond_db *db, const char *name, size_t name_size, diamond_table **table);
  diamond_status diamond_table_close(diamond_table *table);
  diamond_status diamond_table_drop(diamond_db *db, const char *name, size_t name_size);
  diamond_status diamond_table_rename(diamond_db *db, const char *name, size_t name_size, const char *new_name,
    size_t new_name_size);
  diamond_status diamond_table_list(diamond_db *db, char **json, size_t *size);
  diamond_status diamond_table_name(diamond_table *table, char **name, size_t *size);
  diamond_status diamond_table_schema(diamond_table *table, char **json, size_t *size);
  diamond_status diamond_table_layout(diamond_table *table, char **json, size_t *size);
  diamond_status diamond_table_count(diamond_table *table, uint64_t *count);
  diamond_status diamond_table_next_id(diamond_table *table, uint64_t *id);
  diamond_status diamond_table_save(diamond_table *table, const void *record, size_t record_size, const uint8_t
    *nulls, uint64_t *id);
  diamond_status diamond_table_fetch(diamond_table *table, uint64_t id, void *record, size_t record_size, uint8_t
    *nulls);
  diamond_status diamond_table_replace(diamond_table *table, uint64_t id, const void *record, size_t record_size,
    const uint8_t *nulls);
  diamond_status diamond_table_replace_if(diamond_table *table, uint64_t id, const void *expected, size_t
    expected_size, const uint8_t *expected_nulls, const void *record, size_t record_size, const uint8_t *nulls);
  diamond_status diamond_table_delete(diamond_table *table, uint64_t id);
  diamond_status diamond_table_delete_if(diamond_table *table, uint64_t id, const void *expected, size_t
    expected_size, const uint8_t *expected_nulls);
  diamond_status diamond_table_save_many(diamond_table *table, const diamond_records *records, size_t count,
    uint64_t *first_id);
  diamond_status diamond_table_fetch_many(diamond_table *table, const uint64_t *ids, size_t count, const
    diamond_records *records, diamond_status *statuses);
  diamond_status diamond_table_replace_many(diamond_table *table, const uint64_t *ids, size_t count, const
    diamond_records *records);
  diamond_status diamond_table_delete_many(diamond_table *table, const uint64_t *ids, size_t count);
  diamond_status diamond_table_save_json(diamond_table *table, const char *json, size_t json_size, uint64_t *id);
  diamond_status diamond_table_save_many_json(diamond_table *table, const char *json, size_t json_size, uint64_t
    *first_id, size_t *count);
  diamond_status diamond_table_fetch_json(diamond_table *table, uint64_t id, uint32_t flags, char **json, size_t
    *size);
  diamond_status diamond_table_fetch_many_json(diamond_table *table, const uint64_t *ids, size_t count, uint32_t
    flags, char **json, size_t *size, diamond_status *statuses);
  diamond_status diamond_table_replace_json(diamond_table *table, uint64_t id, const char *json, size_t
    json_size);
  diamond_status diamond_table_replace_if_json(diamond_table *table, uint64_t id, const char *expected, size_t
    expected_size, const char *json, size_t json_size);
  diamond_status diamond_table_replace_many_json(diamond_table *table, const uint64_t *ids, size_t count, const
    char *json, size_t json_size);
  diamond_status diamond_table_save_by(diamond_save_request *request);
  diamond_status diamond_table_fetch_by(const diamond_fetch_request *request);
  diamond_status diamond_batch_open(diamond_db *db, diamond_batch **batch);
  diamond_status diamond_batch_save(diamond_batch *batch, diamond_table *table, const void *record, size_t
    record_size, const uint8_t *nulls);
  diamond_status diamond_batch_save_json(diamond_batch *batch, diamond_table *table, const char *json, size_t
    json_size);
  diamond_status diamond_batch_replace(diamond_batch *batch, diamond_table *table, uint64_t id, const void
    *record, size_t record_size, const uint8_t *nulls);
  diamond_status diamond_batch_replace_json(diamond_batch *batch, diamond_table *table, uint64_t id, const char
    *json, size_t json_size);
  diamond_status diamond_batch_delete(diamond_batch *batch, diamond_table *table, uint64_t id);
  diamond_status diamond_batch_expect(diamond_batch *batch, diamond_table *table, uint64_t id, const void *record,
    size_t record_size, const uint8_t *nulls);
  diamond_status diamond_batch_expect_json(diamond_batch *batch, diamond_table *table, uint64_t id, const char
    *json, size_t json_size);
  diamond_status diamond_batch_commit(diamond_batch *batch, uint32_t flags, uint64_t *ids, size_t ids_count,
    uint64_t *lsn);
  diamond_status diamond_batch_close(diamond_batch *batch);
  diamond_status diamond_table_scan(diamond_table *table, const diamond_scan_options *options, diamond_cursor
    **cursor);
  diamond_status diamond_cursor_next(diamond_cursor *cursor, uint64_t *id, void *record, size_t record_size,
    uint8_t *nulls);
  diamond_status diamond_cursor_next_many(diamond_cursor *cursor, uint64_t *ids, size_t capacity, const
    diamond_records *records, size_t *count);
  diamond_status diamond_cursor_next_json(diamond_cursor *cursor, uint32_t flags, uint64_t *id, char **json,
    size_t *size);
  diamond_status diamond_cursor_close(diamond_cursor *cursor);
  diamond_status diamond_snapshot_open(diamond_db *db, diamond_snapshot **snapshot);
  diamond_status diamond_snapshot_table(diamond_snapshot *snapshot, const char *name, size_t name_size,
    diamond_table **table);
  diamond_status diamond_snapshot_close(diamond_snapshot *snapshot);
  diamond_status diamond_pin_open(diamond_table *table, diamond_slots *slots, diamond_pin **pin);
  diamond_status diamond_pin_close(diamond_pin *pin);
`);

/**
 * The library at path, through a back end: its functions by name, and `memory`, which copies between the two worlds.
 * Throws an Error if it is not there or of another ABI version than this file.
 */
function load(backend, path) {
  const library = backend.load(path);
  refuseOther(library, path);
  const native = { backend, path };
  for (const { name, result, parameters } of Object.values(functions)) {
    native[name] = library.bind(name, result, parameters.map(({ kind }) => kind));
  }
  // Those of the C library that the library itself is linked with.
  native.read_memory = library.bind('memcpy', 'void', ['buffer', 'address', 'size']);
  native.write_memory = library.bind('memcpy', 'void', ['address', 'buffer', 'size']);
  return native;
}

function refuseOther(library, path) {
  const { result } = functions.diamond_abi_version;
  const found = library.bind('diamond_abi_version', result, [])();
  const expected = constants.DIAMOND_ABI_VERSION;
  if (found === expected) return;
  throw new Error(`${path} has version ${found} of the C interface, and this package was written for version ` +
    `${expected}: install the package and the library of one release.`);
}

/** Declarations, divided by semicolons, by name. */
function declared(text) {
  const all = text.replace(/\s+/g, ' ').split(';').map((part) => part.trim()).filter(Boolean).map(readFunction);
  return Object.fromEntries(all.map((one) => [one.name, one]));
}

/** "diamond_status diamond_close(diamond_db *db)" */
function readFunction(text) {
  const [, type, name, parameters] = /^(.+?)\b(\w+)\((.*)\)$/.exec(text);
  const isText = /^const char \*$/.test(type.trim());
  return { name, text, result: isText ? 'text' : kindOf(type), parameters: readParameters(parameters) };
}

function readParameters(text) {
  return text === 'void' ? [] : text.split(', ').map((one) => {
    const [, type, name] = /^(.+?)(\w+)$/.exec(one);
    return { name, kind: kindOf(type) };
  });
}

function kindOf(type) {
  const kind = type.includes('*') ? 'address' : KINDS[type.replace('const', '').trim()];
  if (kind === undefined) throw new Error(`native.js: the type "${type}" is not known`);
  return kind;
}

/** Structs with the offset of each field, as a C compiler lays them out. */
function layOut(texts) {
  const all = {};
  for (const [name, text] of Object.entries(texts)) all[name] = layOutOne(all, text);
  return all;
}

function layOutOne(all, text) {
  const fields = {};
  let [end, alignment] = [0, 1];
  for (const line of text.split(';').map((part) => part.replace(/\s+/g, ' ').trim()).filter(Boolean)) {
    const { name, size, align, ...rest } = readField(all, line);
    const offset = Math.ceil(end / align) * align;
    fields[name] = { offset, size, ...rest };
    end = offset + size;
    alignment = Math.max(alignment, align);
  }
  return { fields, size: Math.ceil(end / alignment) * alignment, alignment };
}

function readField(all, line) {
  const callback = /^(.+?) \(\*(\w+)\)\((.*)\)$/.exec(line);
  if (callback !== null) {
    const [, type, name, parameters] = callback;
    const signature = { result: kindOf(type), parameters: readParameters(parameters).map(({ kind }) => kind) };
    return { name, size: 8, align: 8, kind: 'address', signature };
  }
  const [, type, name, count] = /^(.+?)(\w+)(?:\[(\d+)\])?$/.exec(line);
  const struct = all[type.trim()];
  if (struct !== undefined) return { name, size: struct.size, align: struct.alignment, kind: type.trim() };
  const kind = kindOf(type);
  return { name, size: SIZES[kind] * Number(count ?? 1), align: SIZES[kind], kind };
}

module.exports = { constants, structs, functions, load };
