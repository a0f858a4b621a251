// A database from opening to closing: options, errors, handles that outlive it, upkeep, reports, backups, threads.
#include "check.hpp"

#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

template <class Handle>
constexpr bool is_handle = std::is_nothrow_move_constructible_v<Handle> && std::is_nothrow_move_assignable_v<Handle> &&
                           std::is_nothrow_default_constructible_v<Handle> && !std::is_copy_constructible_v<Handle> &&
                           !std::is_copy_assignable_v<Handle>;
static_assert(is_handle<diamond::database> && is_handle<diamond::any_table> && is_handle<diamond::table<person>>);
static_assert(is_handle<diamond::batch> && is_handle<diamond::snapshot> && is_handle<diamond::pin<person>>);
static_assert(std::is_nothrow_move_constructible_v<diamond::cursor<person>> &&
              !std::is_copy_constructible_v<diamond::cursor<person>>);

static void each_option_has_its_effect(const std::string &folder) {
    diamond::options options;
    options.must_exist = true;
    THROWS(diamond::not_found, "missing", diamond::database(folder + "-missing", options));
    diamond::database(folder).make_table<person>("people").save(person_of("Abby", 29));

    options.read_only = true;
    diamond::database read_only(folder, options);
    THROWS(diamond::unsupported, "read-only", read_only.open_table<person>("people").save(person_of("Bob", 1)));
    THROWS(diamond::busy, "other options", diamond::database{folder}); // Open with others.
    read_only.close();

    options = {};
    options.no_threads = true;
    options.durability = diamond::durability::async;
    options.interval = std::chrono::seconds(5);
    diamond::database quiet(folder, options);
    quiet.open_table<person>("people").save(person_of("Bob", 31));
    while (quiet.step(std::chrono::seconds(1))) {}
    CHECK(!quiet.step(std::chrono::hours(2))); // Longer than C can say.
    quiet.close();
    options.interval = std::chrono::milliseconds(-1);
    THROWS(diamond::invalid, "options.interval is -1 ms", diamond::database(folder, options));
    options.interval = std::chrono::hours(24 * 365);
    THROWS(diamond::invalid, "options.interval", diamond::database(folder, options));

    options = {};
    options.in_memory = true;
    options.cache_bytes = 1 << 20;
    diamond::database brief("", options);
    auto people = brief.make_table<person>("people");
    std::uint64_t id = people.save(person_of("Clara", 40));
    CHECK(people.fetch(id).age == 40);
    CHECK(brief.stats().number("cache.hits").value_or(0) + brief.stats().number("cache.misses").value_or(0) > 0);
    THROWS(diamond::unsupported, "", people.pin());
}

static void an_error_has_a_status_and_a_sentence(const diamond::database &db) {
    auto people = db.open_table<person>("people");
    diamond_status status = DIAMOND_STATUS_OK;
    std::string sentence;
    try {
        people.fetch(1000000);
    } catch (const diamond::error &error) { // The one class of all.
        status = error.status();
        sentence = error.what();
    }
    CHECK(status == DIAMOND_STATUS_OUT_OF_RANGE);
    CHECK(sentence.find("people") != std::string::npos && sentence.find("1000000") != std::string::npos);
    for (diamond_status each = 100; each < 700; each++) {
        try {
            diamond::detail::raise(each, "so it is");
        } catch (const diamond::error &error) {
            CHECK(error.status() == each && std::strcmp(error.what(), "so it is") == 0);
        }
    }
    THROWS(diamond::timed_out, "late", diamond::detail::raise(DIAMOND_STATUS_TIMEOUT, "late"));
    THROWS(diamond::poisoned, "late", diamond::detail::raise(DIAMOND_STATUS_POISONED, "late"));
}

static void handles_may_outlive_their_database(const std::string &folder) {
    diamond::database db(folder);
    auto people = db.open_table<person>("people");
    auto batch = db.batch();
    auto snapshot = db.snapshot();
    auto scan = people.scan();
    diamond::database moved = std::move(db);
    CHECK(moved && !db);
    THROWS(diamond::misuse, "NULL", db.flush());
    moved = diamond::database(); // Closes what it held.
    THROWS(diamond::closed, "closed", people.count());
    THROWS(diamond::closed, "closed", batch.commit());
    THROWS(diamond::closed, "closed", snapshot.open_table("people"));
    THROWS(diamond::closed, "closed", scan.begin());
    people.close();
}

static void a_handle_of_c_and_one_of_cpp_are_one(const std::string &folder) {
    diamond_db *raw = nullptr;
    CHECK(diamond_open(folder.data(), folder.size(), nullptr, &raw) == DIAMOND_STATUS_OK);
    diamond::database db(raw);
    CHECK(db.get() == raw);
    diamond_table *table = nullptr;
    CHECK(diamond_table_open(raw, "people", 6, &table) == DIAMOND_STATUS_OK);
    diamond::table<person> people{diamond::any_table(table)};
    CHECK(people.get() == table && people.count() == 2);
}

static void upkeep_and_reports(const diamond::database &db) {
    db.flush();
    db.checkpoint();
    diamond::verify_report report = db.verify();
    CHECK(report.is_sound() && report.tables == 1 && report.records == 2 && report.pages > 0);
    diamond::statistics stats = db.stats();
    CHECK(stats.json().front() == '{' && stats.count("tables") == 1u && stats.number("commits").has_value());
    CHECK(!stats.count("oldest_snapshot_age_ms") && !stats.number("no such figure") && !stats.number("tables.none"));
    auto open = db.snapshot();
    CHECK(db.stats().count("snapshots") == 1u && db.stats().count("oldest_snapshot_age_ms"));
    CHECK(!diamond::version().empty() && diamond::version() == DIAMOND_VERSION);
}

struct word {
    diamond::text<20> text;

    static constexpr auto fields() { return diamond::fields(diamond::field("text", &word::text)); }
};

// A byte of a record is changed on disk: verify tells of it and does not throw, and whoever reads the record hears so.
static void damage_is_in_the_report(const std::string &folder) {
    diamond::database(folder).make_table<word>("words").save(word{"mahogany"});
    CHECK(diamond::database(folder).verify().is_sound());
    std::fstream file(folder + "/data/2", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 + 3); // Record 0 lies behind the header.
    CHECK(file.put('O').good());
    file.close();

    diamond::database db(folder);
    diamond::verify_report report = db.verify();
    CHECK(!report.is_sound() && report.findings[0].file.find("data/2") != std::string::npos);
    CHECK(!report.findings[0].message.empty());
    auto words = db.open_table<word>("words");
    THROWS(diamond::corrupt, "data/2", words.find(0));
    // A record that cannot be read is not taken for one that is not there, though the first was not there.
    std::vector<std::uint64_t> ids = {9, 0};
    THROWS(diamond::corrupt, "data/2", words.find_many(ids));
    THROWS(diamond::corrupt, "data/2", words.fetch_many_json(ids));
    THROWS(diamond::corrupt, "data/2", words.pin());
}

static void a_backup_is_watched_and_called_off(const diamond::database &db, const std::string &folder) {
    std::string copy = folder + "-copy";
    THROWS(diamond::cancelled, "called off", db.backup(copy, [](std::uint64_t, std::uint64_t) { return false; }));
    // What the progress throws comes out as it is.
    THROWS(std::logic_error, "no more", db.backup(copy, [](std::uint64_t, std::uint64_t) -> bool {
        throw std::logic_error("no more");
    }));
    THROWS(diamond::invalid, "own folder", db.backup(folder));

    std::uint64_t done_bytes = 0, total_bytes = 1;
    auto watch = [&](std::uint64_t done, std::uint64_t total) {
        done_bytes = done, total_bytes = total;
        return true;
    };
    db.backup(copy, watch);
    CHECK(done_bytes == total_bytes && total_bytes > 0);
    THROWS(diamond::invalid, "not empty", db.backup(copy));
    CHECK(diamond::database(copy).open_table<person>("people").count() == 2);
}

// A child of fork() touches nothing of its parent's, whatever it calls and closes.
static void a_child_is_refused(const diamond::database &db) {
    auto people = db.open_table<person>("people");
    diamond::snapshot snapshot = db.snapshot();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        THROWS(diamond::forked, "fork", people.save(person_of("Eve", 1)));
        THROWS(diamond::forked, "fork", db.batch());
        THROWS(diamond::forked, "fork", snapshot.open_table("people"));
        people = diamond::table<person>(); // As its destructor would, and silently.
        _exit(7);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(people.count() == 2 && snapshot.open_table("people").count() == 2);
}

static void threads_share_handles(const std::string &folder) {
    diamond::options options;
    options.durability = diamond::durability::os;
    const diamond::database db(folder + "-threads", options);
    const auto people = db.make_table<person>("people");
    const std::uint64_t counter = people.save(person_of("Counter", 0));
    constexpr int thread_count = 4, rounds = 50;
    std::vector<std::thread> threads;
    for (int i = 0; i < thread_count; i++)
        threads.emplace_back([&] {
            for (int round = 0; round < rounds; round++) {
                people.update(counter, [](person &it) { it.age += 1; });
                std::uint64_t id = people.save(person_of("Person", round));
                CHECK(people.fetch(id).age == round);
            }
        });
    for (std::thread &thread : threads) thread.join();
    CHECK(people.fetch(counter).age == thread_count * rounds && people.count() == thread_count * rounds + 1);
}

int main(int count, char **arguments) {
    std::string folder = folder_from(count, arguments);
    each_option_has_its_effect(folder);
    handles_may_outlive_their_database(folder);
    a_handle_of_c_and_one_of_cpp_are_one(folder);
    {
        diamond::database db(folder);
        an_error_has_a_status_and_a_sentence(db);
        upkeep_and_reports(db);
        a_backup_is_watched_and_called_off(db, folder);
        a_child_is_refused(db);
    }
    threads_share_handles(folder);
    damage_is_in_the_report(folder + "-damaged");
    std::puts("databases: ok");
    return 0;
}
