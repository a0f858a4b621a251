// What the calls cost in C++: calls FOLDER, which has to be there. Lines of work, column and nanoseconds.
#include <diamonddb.hpp>

#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "records.h"

template <> struct diamond::description<record> {
    static constexpr auto fields()
    {
        return diamond::fields(diamond::field("a", &record::a), diamond::field("b", &record::b),
            diamond::field("c", &record::c), diamond::field("d", &record::d), diamond::field("e", &record::e),
            diamond::field("f", &record::f).time(), diamond::field("g", &record::g), diamond::field("h", &record::h),
            diamond::field("i", &record::i), diamond::field("j", &record::j), diamond::field("k", &record::k),
            diamond::field("l", &record::l), diamond::field("m", &record::m).boolean(),
            diamond::field("n", &record::n), diamond::field("o", &record::o));
    }
};

namespace {

// What `act` takes for each of `count`: the median of some rounds.
template <class Act> void measure(const char *work, double count, Act act)
{
    double rounds[ROUNDS];
    for (double &round : rounds) {
        double begun = now_ns();
        act();
        round = now_ns() - begun;
    }
    tell(work, "C++", median(rounds) / count);
}

void check(const record &it, std::uint64_t id)
{
    if (static_cast<std::uint64_t>(it.a) != id) throw std::runtime_error("a record is another");
}

void reads(const diamond::table<record> &table)
{
    std::uint64_t state = 1;
    measure("fetch, as an object", READS, [&] {
        for (int i = 0; i < READS; i++) {
            std::uint64_t id = next_id(&state);
            check(table.fetch(id), id);
        }
    });
    std::vector<std::uint64_t> ids(BATCH);
    measure("fetch of 1000, a record", READS, [&] {
        for (int batch = 0; batch < READS / BATCH; batch++) {
            for (std::uint64_t &id : ids) id = next_id(&state);
            std::vector<record> found = table.fetch_many(ids);
            for (std::size_t i = 0; i < ids.size(); i++) check(found[i], ids[i]);
        }
    });
    measure("scan, a record", RECORDS, [&] {
        std::uint64_t id = 0;
        for (const auto &entry : table.scan()) check(entry.record, id++);
    });
}

void writes(const diamond::table<record> &table)
{
    measure("save, async", SAVES, [&] {
        for (int i = 0; i < SAVES; i++) table.save(record_of(i));
    });
    std::vector<record> many(BATCH, record_of(1));
    measure("batch of 1000, async, a record", BATCH * BATCHES, [&] {
        for (int i = 0; i < BATCHES; i++) table.save_many(many);
    });
}

struct empty_cache : diamond::cache_module {
    std::string name() const override { return "empty"; }
    void store(const diamond::change &) override {}
    void fetch(std::uint32_t, std::uint64_t, diamond::cache_reply &) override {}
    void clear() override {}
};

double fetch_time(std::shared_ptr<diamond::cache_module> cache)
{
    diamond::options options;
    options.in_memory = true;
    options.cache = std::move(cache);
    diamond::database db("callbacks", options);
    auto table = db.make_table<record>("records");
    table.save(record_of(0));
    double begun = now_ns();
    for (int i = 0; i < READS; i++) check(table.fetch(0), 0);
    return (now_ns() - begun) / READS;
}

// A fetch over a cache that has nothing, less one without: a miss and what it hears of the record, two calls.
void callbacks()
{
    double rounds[ROUNDS];
    for (double &round : rounds) round = fetch_time(std::make_shared<empty_cache>()) - fetch_time(nullptr);
    tell("callback", "C++", median(rounds) / 2);
}

} // namespace

int main(int count, char **arguments)
{
    if (count != 2) return 2;
    std::string folder = arguments[1];
    diamond::options options;
    options.durability = diamond::durability::async;
    diamond::database db(folder + "/async", options);
    auto table = db.make_table<record>("records");
    std::vector<record> all;
    for (int id = 0; id < RECORDS; id++) all.push_back(record_of(id));
    table.save_many(all);
    reads(table);
    writes(table);
    table.close();
    db.close();
    callbacks();
    diamond::database synced(folder + "/synced");
    auto durable = synced.make_table<record>("records");
    measure("save, sync", SYNCED, [&] {
        for (int i = 0; i < SYNCED; i++) durable.save(record_of(i));
    });
    return 0;
}
