/* A cache over a fixed array: each record has one place, and drives out who was there. */
#include <diamonddb.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES = 1024, LARGEST = 512 };
struct cached { uint32_t table; int32_t kind; uint64_t id; diamond_stamp stamp; size_t record_size, nulls_size; };
struct array { struct cached heads[PLACES]; unsigned char bytes[PLACES][LARGEST]; };

static size_t place_of(uint32_t table, uint64_t id) { return (size_t)(id * 31 + table) % PLACES; }

static int array_store(void *context, const diamond_change *change, diamond_reply *reply) {
    struct array *cache = context;
    size_t at = place_of(change->table, change->id), size = change->record_size + change->nulls_size;
    struct cached *head = cache->heads + at;
    int here = head->table == change->table && head->id == change->id;
    (void)reply;
    if (here && head->stamp.version > change->stamp.version) return DIAMOND_MODULE_OK; /* what it has is newer */
    if (size > LARGEST) {
        if (here) memset(head, 0, sizeof *head);
        return DIAMOND_MODULE_OK;
    }
    *head = (struct cached){change->table, change->kind, change->id, change->stamp, change->record_size,
                            change->nulls_size};
    if (change->record_size) memcpy(cache->bytes[at], change->record, change->record_size);
    if (change->nulls_size) memcpy(cache->bytes[at] + change->record_size, change->nulls, change->nulls_size);
    return DIAMOND_MODULE_OK;
}

static int array_fetch(void *context, uint32_t table, uint64_t id, diamond_reply *reply) {
    struct array *cache = context;
    size_t at = place_of(table, id);
    struct cached *head = cache->heads + at;
    if (head->table != table || head->id != id || head->kind != DIAMOND_CHANGE_STORE) return DIAMOND_MODULE_MISS;
    diamond_reply_record(reply, 0, &head->stamp, cache->bytes[at], head->record_size,
                         cache->bytes[at] + head->record_size, head->nulls_size);
    return DIAMOND_MODULE_OK;
}

static int array_clear(void *context, diamond_reply *reply) {
    (void)reply;
    memset(((struct array *)context)->heads, 0, sizeof ((struct array *)context)->heads);
    return DIAMOND_MODULE_OK;
}

static diamond_cache_module array_cache(void) {
    return (diamond_cache_module){.struct_size = sizeof(diamond_cache_module), .name = "array",
        .flags = DIAMOND_MODULE_ONE_AT_A_TIME, .context = calloc(1, sizeof(struct array)),
        .store = array_store, .fetch = array_fetch, .clear = array_clear, .destroy = free};
}
