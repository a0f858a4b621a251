/* Money moves from one table to another, wholly or not at all, and nobody takes a lock. */
#include "check.h"

typedef struct account {
    int64_t cents;
} account;

typedef struct transfer {
    uint64_t source, target;
    int64_t cents;
} transfer;

static int64_t cents_of(diamond_table *accounts, uint64_t id) {
    account it;
    OK(diamond_table_fetch(accounts, id, &it, sizeof it, NULL));
    return it.cents;
}

int main(int argc, char **argv) {
    diamond_db *db = open_folder(argc, argv);
    diamond_table *accounts, *transfers;
    diamond_batch *batch;
    account full = {1000}, empty = {0}, read, less, more;
    transfer moved;
    uint64_t ids[2], id, lsn = 0, count;
    char error[80] = "";

    OK(diamond_table_make(db, TEXT("accounts"), TEXT("{\"cents\": [\"i64\"]}"), &accounts));
    OK(diamond_table_make(db, TEXT("transfers"),
                          TEXT("{\"source\": [\"u64\"], \"target\": [\"u64\"], \"cents\": [\"i64\"]}"), &transfers));

    /* Ids come with the commit. */
    OK(diamond_batch_open(db, &batch));
    OK(diamond_batch_save(batch, accounts, &full, sizeof full, NULL));
    OK(diamond_batch_save_json(batch, accounts, TEXT("{\"cents\": 0}")));
    OK(diamond_table_count(accounts, &count));
    CHECK(count == 0);
    FAILS(DIAMOND_STATUS_MISUSE, "ids", diamond_batch_commit(batch, 0, ids, 1, NULL)); /* No room for both. */
    OK(diamond_batch_commit(batch, 0, ids, 2, NULL));
    CHECK(cents_of(accounts, ids[0]) == 1000 && cents_of(accounts, ids[1]) == 0);

    /* Read, decide, expect what was read. The batch is empty after a commit and serves again. */
    OK(diamond_table_fetch(accounts, ids[0], &read, sizeof read, NULL));
    less.cents = read.cents - 300;
    more.cents = 300;
    moved.source = ids[0];
    moved.target = ids[1];
    moved.cents = 300;
    OK(diamond_batch_expect(batch, accounts, ids[0], &read, sizeof read, NULL));
    OK(diamond_batch_expect_json(batch, accounts, ids[1], TEXT("{\"cents\": 0}")));
    OK(diamond_batch_replace(batch, accounts, ids[0], &less, sizeof less, NULL));
    OK(diamond_batch_replace(batch, accounts, ids[1], &more, sizeof more, NULL));
    OK(diamond_batch_save(batch, transfers, &moved, sizeof moved, NULL));

    /* Somebody was faster: nothing changes, and the batch is as it was. */
    OK(diamond_table_replace(accounts, ids[0], &empty, sizeof empty, NULL));
    FAILS(DIAMOND_STATUS_CONFLICT, "accounts", diamond_batch_commit(batch, 0, &id, 1, NULL));
    CHECK(cents_of(accounts, ids[0]) == 0 && cents_of(accounts, ids[1]) == 0);
    OK(diamond_table_count(transfers, &count));
    CHECK(count == 0);

    /* They gave it back: the same batch commits now. Others may go on before the disk has it. */
    OK(diamond_table_replace(accounts, ids[0], &full, sizeof full, NULL));
    OK(diamond_batch_commit(batch, DIAMOND_COMMIT_NO_WAIT, &id, 1, &lsn));
    CHECK(lsn > 0);
    OK(diamond_wait_durable(db, lsn, UINT32_MAX, error, sizeof error));
    OK(diamond_wait_durable(db, 0, 10000, NULL, 0));
    CHECK(cents_of(accounts, ids[0]) == 700 && cents_of(accounts, ids[1]) == 300 && id == 0);

    /* What is refused is not in the batch; what is closed before its commit never was. */
    FAILS(DIAMOND_STATUS_INVALID, "cents", diamond_batch_save_json(batch, accounts, TEXT("{\"cents\": 1.5}")));
    OK(diamond_batch_replace_json(batch, accounts, ids[0], TEXT("{\"cents\": 1}")));
    OK(diamond_batch_delete(batch, accounts, ids[1]));
    OK(diamond_batch_close(batch));
    CHECK(cents_of(accounts, ids[0]) == 700 && cents_of(accounts, ids[1]) == 300);

    OK(diamond_table_close(transfers));
    OK(diamond_table_close(accounts));
    OK(diamond_close(db));
    puts("batches: ok");
    return 0;
}
