// Stores and caches written as C++ classes: they keep the contract, and what they throw stays on this side.
#include "check.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>
#include <vector>

// What a module keeps of a change.
struct kept {
    diamond_stamp stamp{};
    bool is_delete = false;
    std::string record;
    std::string nulls;
};

static kept copy_of(const diamond::change &it) {
    return {it.stamp, it.is_delete, std::string(it.record), std::string(it.nulls)};
}

// What lies on the disk of a store, and stays when the store is gone.
struct disk {
    std::map<std::uint32_t, std::map<std::uint64_t, kept>> tables;
    std::string meta;
};

// A store over a map, made durable by a copy of it.
class map_store : public diamond::store_module {
  public:
    explicit map_store(std::shared_ptr<disk> durable) : durable_(std::move(durable)) {}

    std::string name() const override { return "map"; }
    std::uint64_t flags() const override {
        return DIAMOND_MODULE_ONE_AT_A_TIME | DIAMOND_MODULE_ATOMIC | DIAMOND_MODULE_IMMEDIATE;
    }
    void initialize(const diamond::inventory &found) override {
        now_ = *durable_;
        if (!now_.meta.empty()) found.meta(now_.meta);
        for (const auto &[table, records] : now_.tables)
            for (const auto &[id, record] : records) found.stored(table, id, record.stamp.version);
    }
    void make_table(std::uint32_t table, std::string_view) override { now_.tables[table].clear(); }
    void update_meta(std::string_view tables) override { now_.meta = tables; }
    void store(const diamond::changes &all) override {
        for (const diamond::change &it : all) std::ignore = now_.tables.at(it.table); // Or it throws.
        for (std::size_t i = 0; i < all.size(); i++) now_.tables[all[i].table][all[i].id] = copy_of(all[i]);
    }
    void fetch(std::uint32_t table, const diamond::wanted &ids) override {
        const auto &records = now_.tables.at(table);
        for (std::size_t i = 0; i < ids.size(); i++) {
            auto place = records.find(ids[i]);
            if (place == records.end() || place->second.is_delete) continue;
            ids.found(i, place->second.stamp, place->second.record, place->second.nulls);
        }
    }
    void persist_all() override { *durable_ = now_; }

  private:
    std::shared_ptr<disk> durable_;
    disk now_;
};

// A cache that forgets nothing.
class map_cache : public diamond::cache_module {
  public:
    std::string name() const override { return "map"; }
    void store(const diamond::change &it) override {
        std::lock_guard lock(mutex_);
        kept &place = records_[{it.table, it.id}];
        if (place.stamp.version <= it.stamp.version) place = copy_of(it);
    }
    void fetch(std::uint32_t table, std::uint64_t id, diamond::cache_reply &reply) override {
        std::lock_guard lock(mutex_);
        auto place = records_.find({table, id});
        if (place == records_.end() || place->second.is_delete) return;
        reply.found(place->second.stamp, place->second.record, place->second.nulls);
    }
    void clear() override {
        std::lock_guard lock(mutex_);
        records_.clear();
    }

  private:
    std::mutex mutex_;
    std::map<std::pair<std::uint32_t, std::uint64_t>, kept> records_;
};

// A cache that answers for any record with the one that it heard of last.
class mixed_up_cache : public map_cache {
  public:
    void store(const diamond::change &it) override {
        std::lock_guard lock(mutex_);
        last_ = copy_of(it);
    }
    void fetch(std::uint32_t, std::uint64_t, diamond::cache_reply &reply) override {
        std::lock_guard lock(mutex_);
        if (!last_.is_delete && !last_.record.empty()) reply.found(last_.stamp, last_.record, last_.nulls);
    }

  private:
    std::mutex mutex_;
    kept last_;
};

static void the_contract_suite_tells_good_from_bad() {
    auto durable = std::make_shared<disk>();
    auto store = std::make_shared<map_store>(durable), again = std::make_shared<map_store>(durable);
    std::weak_ptr<map_store> watched = store;
    diamond::contract_report report = diamond::check_store_module(std::move(store), std::move(again));
    for (const auto &it : report.promises)
        if (!it.is_kept) std::fprintf(stderr, "%s: %s\n", it.promise.c_str(), it.broken.c_str());
    CHECK(report.is_kept() && report.promises.size() > 10 && report.module.find("map") != std::string::npos);
    CHECK(watched.expired());
    CHECK(diamond::check_store_module(std::make_shared<map_store>(std::make_shared<disk>())).is_kept());
    CHECK(diamond::check_cache_module(std::make_shared<map_cache>()).is_kept());

    report = diamond::check_cache_module(std::make_shared<mixed_up_cache>());
    auto broken = std::find_if(report.promises.begin(), report.promises.end(), [](auto &it) { return !it.is_kept; });
    CHECK(!report.is_kept() && broken != report.promises.end() && !broken->broken.empty());
    THROWS(diamond::misuse, "NULL", std::ignore = diamond::check_cache_module(nullptr));
}

static void people_come_and_go(const std::string &folder, const diamond::options &options) {
    diamond::database db(folder, options);
    auto people = db.make_table<person>("people");
    person abby = person_of("Abby", 29), bob = person_of("Bob", 31);
    std::uint64_t before = people.count(), id = people.save({abby, diamond::nulls<person>(&person::seen)});
    CHECK(people.fetch_entry(id).nulls[&person::seen] && people.fetch(id).name == "Abby");
    people.replace(id, bob);
    for (int round = 0; round < 3; round++) CHECK(people.fetch(id) == bob);
    THROWS(diamond::conflict, "people", people.replace_if(id, abby, bob));
    std::uint64_t first = people.save_many(std::vector<person>(3, abby));
    people.erase(first);
    CHECK(!people.find(first) && people.fetch(first + 2) == abby && people.count() == before + 3);
    std::uint64_t visited = 0;
    for (const auto &it : people.scan()) visited += it.record.name.view().empty() ? 0u : 1u;
    CHECK(visited == people.count());
    db.close();
}

static void a_database_runs_over_modules(const std::string &folder) {
    diamond::options options;
    auto durable = std::make_shared<disk>();
    for (int opening = 0; opening < 3; opening++) {
        auto store = std::make_shared<map_store>(durable);
        auto cache = std::make_shared<map_cache>();
        std::weak_ptr<map_store> watched_store = store;
        std::weak_ptr<map_cache> watched_cache = cache;
        options.store = std::move(store);
        options.cache = opening > 0 ? std::move(cache) : nullptr;
        people_come_and_go("", options);
        options.store = nullptr, options.cache = nullptr;
        CHECK(watched_store.expired() && (opening == 0 || watched_cache.expired()));
    }
    CHECK(durable->tables.size() == 1 && durable->tables.begin()->second.size() == 12);
    options.cache = std::make_shared<map_cache>();
    people_come_and_go(folder, options);
    people_come_and_go(folder, options); // A module can be used again once its database is closed.
}

static void a_module_serves_one_database_at_a_time(const std::string &folder) {
    diamond::options options;
    options.cache = std::make_shared<map_cache>();
    diamond::database db(folder, options);
    THROWS(diamond::misuse, "\"map\" is in use", diamond::database(folder + "-other", options));
    THROWS(diamond::misuse, "\"map\" is in use", std::ignore = diamond::check_cache_module(options.cache));
    db.close();
    CHECK(diamond::check_cache_module(options.cache).is_kept());
}

// A store that fails as it is told.
class failing_store : public map_store {
  public:
    using map_store::map_store;

    enum { nowhere, initializing, making, updating, storing, fetching, persisting };
    enum { with_text, with_number, unknown };
    std::atomic<int> place = nowhere;
    std::atomic<int> way = with_text;
    std::atomic<void (*)(const diamond::changes &)> act = nullptr;
    std::atomic<bool> finds_nothing = false;

    void fail_in(int here) const {
        if (place != here) return;
        if (way == with_number) throw 5;
        if (way == unknown) throw diamond::commit_unknown("the line went dead");
        throw std::runtime_error("it is raining");
    }
    void initialize(const diamond::inventory &found) override {
        fail_in(initializing);
        map_store::initialize(found);
    }
    void make_table(std::uint32_t table, std::string_view meta) override {
        fail_in(making);
        map_store::make_table(table, meta);
    }
    void update_meta(std::string_view tables) override {
        fail_in(updating);
        map_store::update_meta(tables);
    }
    void store(const diamond::changes &all) override {
        fail_in(storing);
        map_store::store(all);
        if (auto then = act.load()) then(all);
    }
    void fetch(std::uint32_t table, const diamond::wanted &ids) override {
        fail_in(fetching);
        for (std::size_t i = 0; i < ids.size() && finds_nothing; i++) ids.fail(i);
        if (!finds_nothing) map_store::fetch(table, ids);
    }
    void persist_all() override {
        fail_in(persisting);
        map_store::persist_all();
    }
};

static void what_a_store_throws_is_the_error_of_the_call() {
    auto store = std::make_shared<failing_store>(std::make_shared<disk>());
    std::weak_ptr<failing_store> watched = store;
    diamond::options options;
    options.store = store;
    store->place = failing_store::initializing;
    THROWS(diamond::module_failed, "it is raining", diamond::database("", options));
    store->place = failing_store::nowhere;
    diamond::database db("", options); // What failed to open let go of it.
    store->place = failing_store::making;
    THROWS(diamond::module_failed, "it is raining", db.make_table<person>("nobody"));
    store->place = failing_store::nowhere;

    auto people = db.make_table<person>("people");
    std::uint64_t id = people.save(person_of("Abby", 29));
    store->place = failing_store::fetching;
    THROWS(diamond::module_failed, "it is raining", people.fetch(id));
    THROWS(diamond::module_failed, "it is raining", people.find(id));
    store->way = failing_store::with_number;
    THROWS(diamond::module_failed, "no std::exception", people.fetch(id));
    store->way = failing_store::with_text;
    store->place = failing_store::storing;
    THROWS(diamond::module_failed, "it is raining", people.save(person_of("Bob", 31)));
    store->place = failing_store::nowhere;
    CHECK(people.fetch(id).age == 29 && people.save(person_of("Bob", 31)) > id);

    // One change of a call fails, or may have been done; the store says which.
    store->act = [](const diamond::changes &all) { all.fail(0); };
    THROWS(diamond::module_failed, "", people.save(person_of("Clara", 1)));
    store->act = [](const diamond::changes &all) { all.leave_unknown(0); };
    THROWS(diamond::commit_unknown, "", people.save(person_of("Clara", 1)));
    store->act = nullptr;
    store->finds_nothing = true;
    THROWS(diamond::module_failed, "could not fetch record 0", people.find(id));
    store->finds_nothing = false;
    store->way = failing_store::unknown;
    store->place = failing_store::storing;
    THROWS(diamond::commit_unknown, "the line went dead", people.save(person_of("Dora", 1)));
    store->place = failing_store::nowhere;
    db.close();
    options.store = nullptr;
    store.reset();
    CHECK(watched.expired());
}

static void a_module_that_is_not_taken_is_let_go_of(const std::string &folder) {
    diamond::options options;
    options.in_memory = true; // Goes with no store.
    options.store = std::make_shared<map_store>(std::make_shared<disk>());
    std::weak_ptr<diamond::store_module> watched = options.store;
    THROWS(diamond::invalid, "DIAMOND_OPEN_IN_MEMORY", diamond::database("", options));
    CHECK(options.store.use_count() == 1);
    options.in_memory = false;
    people_come_and_go("", options);
    options.store = nullptr;
    CHECK(watched.expired());

    // Taken, and destroyed at once since the opening fails later.
    diamond::database open(folder);
    options.cache = std::make_shared<map_cache>();
    THROWS(diamond::busy, "other options", diamond::database(folder, options));
    CHECK(options.cache.use_count() == 1);
}

// A store whose persist_all waits for a gate to open.
class gated_store : public map_store {
  public:
    using map_store::map_store;

    void persist_all() override {
        std::unique_lock lock(mutex_);
        is_waiting_ = true;
        changed_.notify_all();
        changed_.wait(lock, [&] { return is_open_; });
        map_store::persist_all();
    }
    void wait_until_someone_waits() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return is_waiting_; });
    }
    void open() { set(true); }
    void shut() { set(false); }

  private:
    void set(bool is_open) {
        std::lock_guard lock(mutex_);
        is_open_ = is_open;
        is_waiting_ = false;
        changed_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_open_ = true;
    bool is_waiting_ = false;
};

static void a_wait_for_durability_ends_in_time() {
    auto store = std::make_shared<gated_store>(std::make_shared<disk>());
    diamond::options options;
    options.store = store;
    diamond::database db("", options);
    auto people = db.make_table<person>("people");
    diamond::batch batch = db.batch();
    batch.save(people, person_of("Abby", 29));
    store->shut();
    std::uint64_t lsn = batch.commit_no_wait().lsn;
    std::thread waiter([&] { db.wait_durable(lsn); });
    store->wait_until_someone_waits();
    CHECK(!db.wait_durable_for(std::chrono::milliseconds(0), lsn));
    CHECK(!db.wait_durable_for(std::chrono::milliseconds(20), lsn));
    CHECK(!db.wait_durable_for(std::chrono::hours(-1), lsn)); // What is past only asks.
    store->open();
    waiter.join();
    CHECK(db.wait_durable_for(std::chrono::milliseconds(0), lsn));
}

class failing_cache : public map_cache {
  public:
    void fetch(std::uint32_t, std::uint64_t, diamond::cache_reply &) override {
        throw std::runtime_error("the cache is on fire");
    }
};

static void what_a_cache_throws_is_counted(const std::string &folder) {
    diamond::options options;
    options.cache = std::make_shared<failing_cache>();
    diamond::database db(folder, options);
    auto people = db.make_table<person>("people");
    std::uint64_t id = people.save(person_of("Abby", 29));
    CHECK(people.fetch(id).age == 29);
    CHECK(db.stats().number("cache.failures") == 1 && db.stats().json().find("the cache map") != std::string::npos);
}

// A cache that calls the database that is calling it.
class calling_cache : public map_cache {
  public:
    const diamond::table<person> *people = nullptr;
    std::string said;

    void fetch(std::uint32_t, std::uint64_t id, diamond::cache_reply &) override {
        try {
            people->fetch(id);
        } catch (const diamond::misuse &refusal) {
            said = refusal.what();
            throw;
        }
    }
};

static void a_module_cannot_call_its_database(const std::string &folder) {
    auto cache = std::make_shared<calling_cache>();
    diamond::options options;
    options.cache = cache;
    diamond::database db(folder, options);
    auto people = db.make_table<person>("people");
    cache->people = &people;
    CHECK(people.fetch(people.save(person_of("Abby", 29))).age == 29);
    CHECK(cache->said.find("must not call the database") != std::string::npos);
}

class bound_store : public map_store {
  public:
    using map_store::map_store;
    std::uint64_t flags() const override { return map_store::flags() | DIAMOND_MODULE_OPENING_THREAD; }
};

static void a_database_is_closed_where_its_module_works() {
    diamond::options options;
    options.store = std::make_shared<bound_store>(std::make_shared<disk>());
    diamond::database db("", options);
    auto people = db.make_table<person>("people");
    std::uint64_t id = people.save(person_of("Abby", 29));
    std::thread([&] {
        THROWS(diamond::wrong_thread, "thread", people.fetch(id));
        THROWS(diamond::wrong_thread, "thread", db.close());
        CHECK(db); // It is open still, to be closed there.
    }).join();
    CHECK(people.fetch(id).age == 29);
    db.close();
    CHECK(!db && options.store.use_count() == 1);
}

int main(int count, char **arguments) {
    std::string folder = folder_from(count, arguments);
    the_contract_suite_tells_good_from_bad();
    a_database_runs_over_modules(folder);
    a_module_serves_one_database_at_a_time(folder);
    what_a_store_throws_is_the_error_of_the_call();
    a_module_that_is_not_taken_is_let_go_of(folder);
    a_wait_for_durability_ends_in_time();
    what_a_cache_throws_is_counted(folder);
    a_module_cannot_call_its_database(folder);
    a_database_is_closed_where_its_module_works();
    std::puts("modules: ok");
    return 0;
}
