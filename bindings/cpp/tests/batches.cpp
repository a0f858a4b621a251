// Money moves from one table to another, wholly or not at all; snapshots stand still; commits are waited for.
#include "check.hpp"

struct account {
    std::int64_t cents;

    static constexpr auto fields() { return diamond::fields(diamond::field("cents", &account::cents)); }
};

struct transfer {
    std::uint64_t source;
    std::uint64_t target;
    std::int64_t cents;

    static constexpr auto fields() {
        return diamond::fields(diamond::field("source", &transfer::source), diamond::field("target", &transfer::target),
                               diamond::field("cents", &transfer::cents));
    }
};

static void a_batch_is_done_wholly_or_not_at_all(const diamond::database &db) {
    auto accounts = db.make_table<account>("accounts");
    auto transfers = db.make_table<transfer>("transfers");

    // Ids come with the commit, each in the place that save gave.
    diamond::batch batch = db.batch();
    std::size_t full = batch.save(accounts, account{1000});
    std::size_t empty = batch.save_json(accounts, R"({"cents": 0})");
    CHECK(full == 0 && empty == 1 && accounts.count() == 0);
    diamond::committed made = batch.commit();
    CHECK(made.ids.size() == 2 && made.lsn > 0);
    std::uint64_t source = made.ids[full], target = made.ids[empty];
    CHECK(accounts.fetch(source).cents == 1000 && accounts.fetch(target).cents == 0);

    // Read, decide, expect what was read; the batch is empty after its commit and serves again.
    account read = accounts.fetch(source);
    batch.expect(accounts, source, read);
    batch.expect_json(accounts, target, R"({"cents": 0})");
    batch.replace(accounts, source, account{read.cents - 300});
    batch.replace(accounts, target, account{300});
    CHECK(batch.save(transfers, transfer{source, target, 300}) == 0);

    // Somebody was faster: nothing changes, and the batch is as it was.
    accounts.replace(source, account{0});
    THROWS(diamond::conflict, "accounts", batch.commit());
    CHECK(accounts.fetch(source).cents == 0 && transfers.count() == 0);
    accounts.replace(source, read);
    made = batch.commit_no_wait();
    CHECK(made.ids.size() == 1 && transfers.fetch(made.ids[0]).cents == 300);
    db.wait_durable(made.lsn);
    CHECK(db.wait_durable_for(std::chrono::milliseconds(0), made.lsn));
    CHECK(db.wait_durable_for(std::chrono::milliseconds::max())); // Longer than C can say.
    CHECK(accounts.fetch(source).cents == 700 && accounts.fetch(target).cents == 300);

    // What is refused is not in the batch; what is not committed never was.
    THROWS(diamond::invalid, "cents", batch.save_json(accounts, R"({"cents": 1.5})"));
    THROWS(diamond::invalid, "cents", batch.replace_json(accounts, source, R"({"cents": 1.5})"));
    batch.replace_json(accounts, source, R"({"cents": 1})");
    batch.erase(accounts, target);
    batch.close();
    THROWS(diamond::misuse, "NULL", batch.commit());
    CHECK(accounts.fetch(source).cents == 700 && accounts.count() == 2);

    batch = db.batch();
    batch.erase(accounts, target);
    CHECK(batch.commit().ids.empty() && !accounts.find(target));
    batch.erase(accounts, target);
    THROWS(diamond::not_found, "accounts", batch.commit());
}

static void nulls_go_through_a_batch(const diamond::database &db) {
    auto people = db.make_table<person>("people");
    diamond::nulls<person> unknown(&person::age);
    diamond::batch batch = db.batch();
    batch.save(people, {person_of("Abby", 29), unknown});
    std::uint64_t id = batch.commit().ids[0];
    diamond::entry<person> entry = people.fetch_entry(id);
    CHECK(entry.nulls == unknown);

    batch.expect(people, id, person_of("Abby", 0)); // An age of 0 is not the same as none.
    batch.replace(people, id, person_of("Abby", 30));
    THROWS(diamond::conflict, "people", batch.commit());
    batch = db.batch();
    batch.expect(people, id, entry);
    batch.replace(people, id, person_of("Abby", 30));
    batch.commit();
    CHECK(!people.fetch_entry(id).nulls.any());
}

static void a_snapshot_stands_still(const diamond::database &db) {
    auto people = db.open_table<person>("people");
    std::uint64_t id = people.save(person_of("Clara", 40));
    diamond::snapshot snapshot = db.snapshot();
    auto then = snapshot.open_table<person>("people");
    people.replace(id, person_of("Clara", 41));
    db.rename_table("people", "persons");
    CHECK(then.fetch(id).age == 40 && then.name() == "people" && snapshot.open_table("people").count() == then.count());
    THROWS(diamond::not_found, "persons", snapshot.open_table("persons"));
    THROWS(diamond::unsupported, "only read", then.save(person_of("Dora", 1)));
    snapshot.close();
    CHECK(then.fetch(id).age == 40 && then.pin().find(id)->record.age == 40); // A table holds the moment, too.
    for (auto &[visited, record, nulls] : then.scan({id, id + 1}))
        CHECK(visited == id && record.age == 40 && !nulls.any());
    CHECK(people.fetch(id).age == 41);
}

int main(int count, char **arguments) {
    std::string folder = folder_from(count, arguments);
    diamond::database db(folder);
    a_batch_is_done_wholly_or_not_at_all(db);
    nulls_go_through_a_batch(db);
    a_snapshot_stands_still(db);
    db.close();
    std::puts("batches: ok");
    return 0;
}
