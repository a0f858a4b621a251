/* A store in one plain file: groups of changes, each with a sum, one behind the other, and in memory where each record
   is. A group that a crash cut short is where the file ends. */
#define _POSIX_C_SOURCE 200809L
#include <diamonddb.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { TABLE_BEGINS = 2, META = 3 }; /* kinds of entries beside those of changes */
struct entry { uint32_t table; int32_t kind; uint64_t id; diamond_stamp stamp; uint64_t record_size, nulls_size; };
struct group { uint64_t size, sum; };
struct place { struct entry entry; uint64_t at; }; /* of its bytes in the file; 0: never stored */
struct table { struct place *places; uint64_t room; int begun; };
struct plain { const char *path; int file; uint64_t end; struct table *tables; uint32_t count; };

static uint64_t sum_of(const unsigned char *bytes, size_t size) { /* FNV-1a */
    uint64_t sum = 14695981039346656037u;
    while (size--) sum = (sum ^ *bytes++) * 1099511628211u;
    return sum;
}
static unsigned char *read_at(const struct plain *store, uint64_t at, size_t size) {
    unsigned char *bytes = malloc(size + 1);
    if (bytes && pread(store->file, bytes, size, (off_t)at) == (ssize_t)size) return bytes;
    return free(bytes), NULL;
}
static int fail(diamond_reply *reply, const char *why) {
    diamond_reply_error(reply, why, strlen(why));
    return 0;
}
/* Room for what an entry says. */
static int make_room(struct plain *store, const struct entry *entry) {
    if (entry->table >= store->count) {
        struct table *tables = realloc(store->tables, (entry->table + 1) * sizeof *tables);
        if (!tables) return 0;
        memset(tables + store->count, 0, (entry->table + 1 - store->count) * sizeof *tables);
        store->tables = tables, store->count = entry->table + 1;
    }
    struct table *table = store->tables + entry->table;
    if (entry->id < table->room) return 1;
    uint64_t room = (entry->id + 8) * 2;
    struct place *places = realloc(table->places, room * sizeof *places);
    if (!places) return 0;
    memset(places + table->room, 0, (room - table->room) * sizeof *places);
    table->places = places, table->room = room;
    return 1;
}
/* A group counts: its entries are in the file, at this place. told, if not NULL, hears what is in it. */
static int enter(struct plain *store, const unsigned char *bytes, size_t size, uint64_t at, diamond_reply *told) {
    for (size_t done = 0; done < size;) {
        struct entry entry;
        memcpy(&entry, bytes + done, sizeof entry);
        if (!make_room(store, &entry)) return 0;
        struct table *table = store->tables + entry.table;
        done += sizeof entry;
        if (entry.kind == META && told) diamond_reply_meta(told, (char *)bytes + done, entry.record_size);
        if (entry.kind == TABLE_BEGINS) memset(table->places, 0, table->room * sizeof *table->places), table->begun = 1;
        int is_change = entry.kind <= DIAMOND_CHANGE_DELETE;
        if (is_change) table->places[entry.id] = (struct place){entry, at + done};
        if (is_change && told) diamond_reply_stored(told, entry.table, entry.id, entry.stamp.version);
        done += entry.record_size + entry.nulls_size;
    }
    return 1;
}
/* Writes changes as one group, and enters them. */
static int append(struct plain *store, const diamond_change *changes, size_t count, diamond_reply *reply) {
    struct group group = {sizeof group, 0};
    for (const diamond_change *c = changes; c < changes + count; c++)
        group.size += sizeof(struct entry) + c->record_size + c->nulls_size;
    unsigned char *bytes = malloc(group.size), *to = bytes + sizeof group;
    if (!bytes) return fail(reply, "no memory");
    for (const diamond_change *c = changes; c < changes + count; c++) {
        struct entry entry = {c->table, c->kind, c->id, c->stamp, c->record_size, c->nulls_size};
        if (!make_room(store, &entry)) return free(bytes), fail(reply, "no memory");
        to = (unsigned char *)memcpy(to, &entry, sizeof entry) + sizeof entry;
        if (c->record_size) to = (unsigned char *)memcpy(to, c->record, c->record_size) + c->record_size;
        if (c->nulls_size) to = (unsigned char *)memcpy(to, c->nulls, c->nulls_size) + c->nulls_size;
    }
    group.sum = sum_of(bytes + sizeof group, group.size - sizeof group);
    memcpy(bytes, &group, sizeof group);
    if (pwrite(store->file, bytes, group.size, (off_t)store->end) != (ssize_t)group.size)
        return free(bytes), fail(reply, "the file cannot be written"); /* The next group takes its place. */
    enter(store, bytes + sizeof group, group.size - sizeof group, store->end + sizeof group, NULL);
    store->end += group.size;
    return free(bytes), DIAMOND_MODULE_OK;
}
static int plain_initialize(void *context, diamond_reply *reply) {
    struct plain *store = context;
    struct group group;
    if ((store->file = open(store->path, O_RDWR | O_CREAT, 0666)) < 0) return fail(reply, "the file cannot be opened");
    uint64_t length = (uint64_t)lseek(store->file, 0, SEEK_END);
    while (pread(store->file, &group, sizeof group, (off_t)store->end) == sizeof group) {
        if (group.size <= sizeof group || group.size > length - store->end) break;
        size_t size = group.size - sizeof group;
        unsigned char *bytes = read_at(store, store->end + sizeof group, size);
        if (!bytes) return fail(reply, "the file cannot be read");
        int whole = sum_of(bytes, size) == group.sum;
        if (whole && !enter(store, bytes, size, store->end + sizeof group, reply)) return fail(reply, "no memory");
        free(bytes);
        if (!whole) break;
        store->end += group.size;
    }
    /* What a crash left behind the end must not come back behind what is written next. */
    return ftruncate(store->file, (off_t)store->end) ? fail(reply, "the file cannot be cut") : DIAMOND_MODULE_OK;
}
static int plain_make_table(void *context, uint32_t table, const char *meta, size_t size, diamond_reply *reply) {
    return append(context, &(diamond_change){table, TABLE_BEGINS, 0, {0, 0}, meta, size, NULL, 0, {0, 0}}, 1, reply);
}
static int plain_update_meta(void *context, const char *tables, size_t size, diamond_reply *reply) {
    return append(context, &(diamond_change){0, META, 0, {0, 0}, tables, size, NULL, 0, {0, 0}}, 1, reply);
}
static int has(struct plain *store, uint32_t table) { return table < store->count && store->tables[table].begun; }
static int plain_save(void *context, const diamond_change *changes, size_t count, int32_t *items, diamond_reply *to) {
    (void)items;
    for (size_t i = 0; i < count; i++) if (!has(context, changes[i].table)) return fail(to, "there is no such table");
    return append(context, changes, count, to);
}
static int plain_fetch(void *context, uint32_t number, const uint64_t *ids, size_t count, int32_t *items,
                       diamond_reply *reply) {
    if (!has(context, number)) return fail(reply, "there is no such table");
    const struct table *table = ((struct plain *)context)->tables + number;
    for (size_t i = 0; i < count; i++) {
        const struct place *place = table->places + ids[i];
        const struct entry *entry = &place->entry;
        if (ids[i] >= table->room || !place->at || entry->kind != DIAMOND_CHANGE_STORE) continue;
        size_t size = entry->record_size;
        unsigned char *bytes = read_at(context, place->at, size + entry->nulls_size);
        if (!bytes) items[i] = 0; /* It cannot be told. */
        else diamond_reply_record(reply, i, &entry->stamp, bytes, size, bytes + size, entry->nulls_size);
        free(bytes);
    }
    return DIAMOND_MODULE_OK;
}
static int plain_persist_all(void *context, diamond_reply *reply) {
    return fdatasync(((struct plain *)context)->file) ? fail(reply, "the file cannot be synced") : DIAMOND_MODULE_OK;
}
static void plain_destroy(void *context) {
    struct plain *store = context;
    close(store->file);
    while (store->count) free(store->tables[--store->count].places);
    free(store->tables), free(store);
}
static diamond_store_module plain_store(const char *path) {
    struct plain *store = calloc(1, sizeof *store);
    *store = (struct plain){.path = path, .file = -1};
    return (diamond_store_module){.struct_size = sizeof(diamond_store_module), .context = store, .name = "plain",
        .flags = DIAMOND_MODULE_ONE_AT_A_TIME | DIAMOND_MODULE_ATOMIC | DIAMOND_MODULE_IMMEDIATE,
        .initialize = plain_initialize, .make_table = plain_make_table, .update_meta = plain_update_meta,
        .store = plain_save, .fetch = plain_fetch, .persist_all = plain_persist_all, .destroy = plain_destroy};
}
