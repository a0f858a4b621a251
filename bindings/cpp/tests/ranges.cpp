// Scans and pins as ranges: in loops, in the algorithms of the standard library, and in std::ranges with C++20.
#include "check.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#if __cplusplus >= 202002L
#include <ranges>
static_assert(std::ranges::input_range<diamond::cursor<person>>);
static_assert(std::ranges::input_range<diamond::json_cursor>);
static_assert(std::ranges::forward_range<const diamond::pin<person>>);
static_assert(std::ranges::common_range<diamond::pin<person>>);
#endif

constexpr std::uint64_t person_count = 5000; // More than one chunk of a scan.

template <class Range> std::vector<std::uint64_t> ids_in(Range &&range) {
    std::vector<std::uint64_t> ids;
    for (const auto &it : range) ids.push_back(it.id);
    return ids;
}

static std::vector<std::uint64_t> ids_between(std::uint64_t first, std::uint64_t end) {
    std::vector<std::uint64_t> ids(static_cast<std::size_t>(end - first));
    std::iota(ids.begin(), ids.end(), first);
    return ids;
}

static void fill(const diamond::table<person> &people) {
    std::vector<diamond::entry<person>> crowd(person_count);
    for (std::size_t i = 0; i < crowd.size(); i++) {
        crowd[i].record = person_of("Person", static_cast<double>(i % 1000));
        if (i % 10 == 0) crowd[i].nulls.set(&person::age);
    }
    CHECK(people.save_many(crowd) == 0);
}

static bool is_as_saved(std::uint64_t id, const person &it, const diamond::nulls<person> &nulls) {
    bool is_null = id % 10 == 0;
    return it.name == "Person" && it.age == (is_null ? 0 : static_cast<double>(id % 1000)) &&
           nulls[&person::age] == is_null && it.member && !nulls[&person::member];
}

static void a_scan_visits_each_record_once(const diamond::table<person> &people) {
    std::uint64_t expected = 0;
    for (auto &[id, record, nulls] : people.scan()) {
        CHECK(id == expected++);
        CHECK(is_as_saved(id, record, nulls));
    }
    CHECK(expected == person_count);

    CHECK(ids_in(people.scan({10, 20})) == ids_between(10, 20));
    CHECK(ids_in(people.scan({person_count - 3})) == ids_between(person_count - 3, person_count));
    CHECK(ids_in(people.scan({person_count})).empty());
    std::vector<std::uint64_t> down = ids_in(people.scan({0, 0, true})), up = ids_between(0, person_count);
    std::reverse(down.begin(), down.end());
    CHECK(down == up);

    auto all = people.scan();
    double sum = std::accumulate(all.begin(), all.end(), 0.0, [](double so_far, const diamond::entry<person> &it) {
        return so_far + it.record.age;
    });
    double expected_sum = 0;
    for (std::uint64_t id = 0; id < person_count; id++) expected_sum += id % 10 ? static_cast<double>(id % 1000) : 0;
    CHECK(sum == expected_sum);
    CHECK(all.begin() == all.end());
}

static void a_scan_goes_on_where_it_was_left(const diamond::table<person> &people) {
    auto scan = people.scan();
    for (const auto &it : scan)
        if (it.id == 2) break;
    CHECK(scan.begin()->id == 2); // It was not passed yet.
    auto moved = std::move(scan);
    CHECK(ids_in(moved) == ids_between(2, person_count));
    THROWS(diamond::misuse, "NULL", scan.begin());
    THROWS(diamond::misuse, "NULL", diamond::json_cursor().begin());
}

static void a_scan_sees_what_was_there_when_it_began(const diamond::table<person> &people) {
    auto scan = people.scan();
    std::uint64_t added = people.save(person_of("Late", 1));
    people.erase(77);
    CHECK(ids_in(scan) == ids_between(0, person_count));
    CHECK(ids_in(people.scan({76, 79})) == (std::vector<std::uint64_t>{76, 78}));
    people.erase(added);
}

static void a_scan_gives_json(const diamond::any_table &people) {
    std::vector<std::string> texts;
    auto scan = people.scan_json({78, 80});
    CHECK(scan.begin()->id == 78 && scan.begin()->id == 78);
    for (auto &[id, json] : scan) {
        CHECK(id == 78 + texts.size());
        texts.push_back(json);
    }
    CHECK(texts.size() == 2 && texts[0].find("\"age\":78") != std::string::npos);
    CHECK(scan.begin() == scan.end());
    for (auto &[id, json] : people.scan_json({78, 79}, diamond::json_style::int64_as_text))
        CHECK(id == 78 && json.find("Person") != std::string::npos);
    diamond::json_cursor open = people.scan_json();
    open.close();
    THROWS(diamond::misuse, "NULL", open.begin());
}

static void a_pin_is_read_in_place(const diamond::table<person> &people) {
    diamond::pin<person> pin = people.pin();
    const diamond_slots &slots = pin.slots();
    CHECK(slots.count == people.next_id() && slots.record_size == sizeof(person));
    std::uint64_t visited = 0, before = 0;
    for (auto [id, record, nulls] : pin) {
        CHECK(id != 77 && (visited == 0 || id > before)); // 77 was deleted.
        CHECK(is_as_saved(id, record, nulls));
        CHECK(reinterpret_cast<const std::uint8_t *>(&record) == slots.base + id * slots.stride);
        before = id;
        visited++;
    }
    CHECK(visited == person_count - 1 && visited == people.count());

    CHECK(pin.find(78)->record.age == 78 && pin.find(80)->nulls[&person::age]);
    CHECK(pin.find(77) == pin.end() && pin.find(slots.count) == pin.end() && pin.find(UINT64_MAX) == pin.end());
    auto oldest = std::max_element(pin.begin(), pin.end(),
                                   [](auto left, auto right) { return left.record.age < right.record.age; });
    CHECK(oldest->record.age == 999 && oldest->id == 999);
    auto place = pin.begin(), next = place++;
    CHECK(next == pin.begin() && place->id == 1 && place != next);

    // It stands still, whatever is written.
    people.replace(78, person_of("Other", 1));
    CHECK(pin.find(78)->record.name == "Person" && people.pin().find(78)->record.name == "Other");
    people.replace(78, person_of("Person", 78));

    diamond::pin<person> moved = std::move(pin);
    CHECK(pin.begin() == pin.end() && pin.slots().count == 0 && !pin && moved.find(78)->id == 78);
    pin = std::move(moved);
    CHECK(!moved && pin.find(78) != pin.end());
    pin.close();
    CHECK(pin.begin() == pin.end() && pin.find(78) == pin.end());
}

static void a_pin_outlives_its_table_and_its_database(const std::string &folder) {
    diamond::pin<person> pin;
    CHECK(pin.begin() == pin.end());
    {
        diamond::database db(folder + "-brief");
        auto people = db.make_table<person>("people");
        CHECK(people.pin().begin() == people.pin().end());
        people.save(person_of("Abby", 29));
        pin = people.pin();
        db.drop_table("people");
        db.close();
        THROWS(diamond::closed, "closed", people.count());
    }
    CHECK(pin.begin()->record.age == 29);
    pin.close();
}

#if __cplusplus >= 202002L
static void ranges_are_composed(const diamond::table<person> &people) {
    namespace views = std::views;
    auto is_ten = [](const auto &it) { return it.record.age == 10 && !it.nulls[&person::age]; };
    auto id_of = [](const auto &it) { return it.id; };
    std::vector<std::uint64_t> tens;
    for (std::uint64_t id : people.scan({.first_id = 1000}) | views::transform(id_of) | views::take(3))
        tens.push_back(id);
    CHECK(tens == (std::vector<std::uint64_t>{1000, 1001, 1002}));

    auto pin = people.pin();
    auto is_old = [](const auto &it) { return it.record.age >= 998; };
    auto old = pin | views::filter(is_old) | views::transform(id_of) | views::take(4);
    CHECK(std::ranges::equal(old, std::vector<std::uint64_t>{998, 999, 1998, 1999}));
    CHECK(std::ranges::count_if(pin, is_ten) == 0 && std::ranges::distance(pin) == person_count - 1);
    CHECK(std::ranges::find(pin, 11.0, [](const auto &it) { return it.record.age; })->id == 11);
    auto scan = people.scan();
    CHECK(std::ranges::count_if(scan, [](const auto &it) { return it.nulls.any(); }) == person_count / 10);
}
#endif

int main(int count, char **arguments) {
    std::string folder = folder_from(count, arguments);
    diamond::database db(folder);
    auto people = db.make_table<person>("people");
    CHECK(ids_in(people.scan()).empty() && ids_in(people.scan_json()).empty());
    fill(people);
    a_scan_visits_each_record_once(people);
    a_scan_goes_on_where_it_was_left(people);
    a_scan_sees_what_was_there_when_it_began(people);
    a_scan_gives_json(people);
    a_pin_is_read_in_place(people);
    a_pin_outlives_its_table_and_its_database(folder);
#if __cplusplus >= 202002L
    ranges_are_composed(people);
#endif
    std::puts("ranges: ok");
    return 0;
}
