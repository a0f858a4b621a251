// A typed table from making to dropping: one record, many at once, nulls, JSON, and what is not there.
#include "check.hpp"

#include <array>
#include <initializer_list>
#include <vector>

static void a_record_comes_back_as_it_was_saved(const diamond::table<person> &people) {
    person abby = person_of("Abby", 29), older = person_of("Abby", 30);
    std::uint64_t next = people.next_id(), id = people.save(abby);
    CHECK(id == next && people.count() == 1);
    CHECK(people.fetch(id) == abby);
    CHECK(people.fetch(id).name == "Abby" && people.fetch(id).name.view() == "Abby");

    people.replace(id, older);
    CHECK(people.fetch(id) == older);
    THROWS(diamond::conflict, "people", people.replace_if(id, abby, abby));
    people.replace_if(id, older, abby);
    THROWS(diamond::conflict, "people", people.erase_if(id, older));
    CHECK(people.find(id) == abby);
    people.erase_if(id, abby);
    CHECK(people.count() == 0);
}

static void what_is_not_there_is_an_error_or_nothing(const diamond::table<person> &people) {
    std::uint64_t id = people.save(person_of("Abby", 29)), never = id + 1000;
    people.erase(id);
    THROWS(diamond::not_found, "deleted", people.fetch(id));
    THROWS(diamond::out_of_range, "people", people.fetch(never));
    THROWS(diamond::not_found, "people", people.erase(id));
    CHECK(!people.find(id) && !people.find(never) && !people.find_entry(id) && !people.find_entry(never));
}

static void nulls_travel_with_the_record(const diamond::table<person> &people) {
    person benny = person_of("Benny", 31);
    diamond::nulls<person> unknown(&person::age, &person::seen);
    static_assert(diamond::nulls<person>::field_count == 4 && sizeof(diamond::nulls<person>) == 1);
    std::uint64_t id = people.save({benny, unknown});

    auto [found_id, found, nulls] = people.fetch_entry(id);
    CHECK(found_id == id && found.name == "Benny" && found.member);
    CHECK(found.age == 0 && found.seen == diamond::timestamp()); // Null fields are zeros.
    CHECK(nulls == unknown && nulls.any());
    CHECK(nulls[&person::age] && nulls[&person::seen] && !nulls[&person::name] && !nulls[&person::member]);

    // An entry goes in as it came out.
    diamond::entry<person> entry = people.find_entry(id).value();
    entry.record.age = 32;
    entry.nulls.set(&person::age, false);
    people.replace_if(id, people.fetch_entry(id), entry);
    CHECK(people.fetch(id).age == 32 && people.fetch_entry(id).nulls == diamond::nulls<person>(&person::seen));
    people.replace(id, benny);
    CHECK(!people.fetch_entry(id).nulls.any());

    diamond::nulls<person> nameless(&person::name); // The schema says "required".
    THROWS(diamond::invalid, "name", people.save({benny, nameless}));
}

static void an_update_starts_over_where_another_was_faster(const diamond::table<person> &people) {
    std::uint64_t id = people.save({person_of("Clara", 40), diamond::nulls<person>(&person::seen)});
    int calls = 0;
    people.update(id, [&](person &clara) {
        if (++calls == 1) people.replace(id, {person_of("Clara", 50), diamond::nulls<person>(&person::seen)});
        clara.age += 1;
    });
    CHECK(calls == 2 && people.fetch(id).age == 51);
    CHECK(people.fetch_entry(id).nulls[&person::seen]); // What is not touched stays null.
    people.update(id, [](person &clara, diamond::nulls<person> &nulls) {
        clara.age += 1;
        nulls.set(&person::seen, false).set(&person::member);
    });
    CHECK(people.fetch_entry(id).nulls == diamond::nulls<person>(&person::member));
    THROWS(diamond::out_of_range, "people", people.update(id + 1000, [](person &) {}));
    THROWS(std::runtime_error, "not today", people.update(id, [](person &) { throw std::runtime_error("not today"); }));
}

static void many_records_travel_in_any_contiguous_range(const diamond::table<person> &people) {
    std::vector<person> rows;
    for (int age = 20; age < 25; age++) rows.push_back(person_of("Dora", age));
    std::uint64_t first = people.save_many(rows);
    std::array<std::uint64_t, 5> ids{};
    for (std::size_t i = 0; i < ids.size(); i++) ids[i] = first + i;
    CHECK(people.fetch_many(ids) == rows);

    person older[] = {person_of("Dora", 70), person_of("Dora", 71)}, found[2];
    std::initializer_list<std::uint64_t> two = {first + 1, first};
    people.replace_many(two, older);
    people.fetch_many(two, found);
    CHECK(found[0].age == 70 && found[1].age == 71 && people.fetch(first).age == 71);
    const std::vector<std::uint64_t> three(3, first);
    THROWS(diamond::invalid, "3 ids go with 2 records", people.fetch_many(three, found));
    THROWS(diamond::invalid, "3 ids go with 2 records", people.replace_many(three, older));

    // Nulls beside the records, or in entries.
    std::vector<diamond::nulls<person>> nulls(2);
    nulls[1].set(&person::age);
    std::uint64_t apart = people.save_many(older, nulls);
    std::vector<diamond::entry<person>> entries(2);
    people.fetch_many(std::array<std::uint64_t, 2>{apart, apart + 1}, entries);
    CHECK(entries[0].id == apart && entries[0].record == older[0] && !entries[0].nulls.any());
    CHECK(entries[1].id == apart + 1 && entries[1].record.age == 0 && entries[1].nulls == nulls[1]);
    std::uint64_t again = people.save_many(entries);
    CHECK(people.fetch_entry(again + 1).nulls == nulls[1] && people.fetch(again) == older[0]);
    nulls[0].set(&person::seen);
    people.replace_many(std::array<std::uint64_t, 2>{again, again + 1}, older, nulls);
    CHECK(people.fetch_entry(again).nulls == nulls[0] && people.fetch_entry(again + 1).nulls == nulls[1]);
    nulls.pop_back();
    THROWS(diamond::invalid, "2 records go with 1 nulls", people.save_many(older, nulls));

    // All or none.
    people.erase_many(two);
    THROWS(diamond::not_found, "people", people.erase_many(std::array<std::uint64_t, 2>{first + 2, first + 1}));
    CHECK(people.fetch(first + 2).age == 22);
    THROWS(diamond::not_found, "people", people.fetch_many(ids));
    auto some = people.find_many(ids);
    CHECK(some.size() == 5 && !some[0] && !some[1] && some[2] == rows[2] && some[4] == rows[4]);
    std::uint64_t beyond = people.next_id();
    CHECK(!people.find_many(std::vector<std::uint64_t>{beyond})[0]);

    // None is no error.
    std::vector<std::uint64_t> no_ids;
    CHECK(people.save_many(std::vector<person>()) == 0 && people.next_id() == beyond);
    CHECK(people.fetch_many(no_ids).empty() && people.find_many(no_ids).empty());
    people.replace_many(no_ids, std::vector<person>());
    people.erase_many(no_ids);
}

static void records_travel_as_json(const diamond::any_table &people) {
    std::string_view dora = R"({"name":"Dora","age":40})", older = R"({"name":"Dora","age":41})";
    std::uint64_t id = people.save_json(dora);
    CHECK(people.fetch_json(id) == R"({"name":"Dora","age":40,"seen":null,"member":null})");
    people.replace_json(id, older);
    THROWS(diamond::conflict, "people", people.replace_if_json(id, dora, dora));
    people.replace_if_json(id, older, R"({"name":"Dora","seen":1})");
    CHECK(people.fetch_json(id, diamond::json_style::int64_as_text).find("\"seen\":") != std::string::npos);

    diamond::saved_json saved = people.save_many_json(R"([{"name":"Emil"},{"name":"Flora","member":false}])");
    std::uint64_t first = saved.first_id;
    CHECK(saved.count == 2);
    std::vector<std::uint64_t> ids = {first, first + 1, first + 1000};
    std::string some = people.fetch_many_json(ids);
    CHECK(some.front() == '[' && some.find("Emil") != std::string::npos && some.find(",null]") != std::string::npos);
    ids.pop_back();
    people.replace_many_json(ids, R"([{"name":"Gusta"},{"name":"Hugo"}])");
    CHECK(people.fetch_many_json(ids).find("Hugo") != std::string::npos);
    CHECK(people.fetch_many_json(std::vector<std::uint64_t>()) == "[]");
    THROWS(diamond::invalid, "shoe", people.save_json(R"({"name":"Ina","shoe":1})"));
    THROWS(diamond::invalid, "2 ids go with 1 records", people.replace_many_json(ids, R"([{"name":"Gusta"}])"));
    THROWS(diamond::out_of_range, "people", people.fetch_json(first + 1000));
}

static void tables_have_names(const diamond::database &db, const diamond::any_table &people) {
    diamond::any_table places = db.make_table("places", R"({"name": ["string", 8]})");
    db.rename_table("places", "towns");
    CHECK(places.name() == "towns" && places.schema() == R"({"name":["string",8]})");
    std::vector<diamond::table_info> all = db.tables();
    CHECK(all.size() == 2);
    for (const diamond::table_info &it : all) {
        if (it.name == "towns") CHECK(it.count == 0 && it.next_id == 0 && it.record_size == 8 && it.slot_size == 16);
        else CHECK(it.name == "people" && it.count == people.count() && it.next_id == people.next_id());
    }
    THROWS(diamond::conflict, "people", db.rename_table("towns", "people"));
    THROWS(diamond::schema_differs, "people", db.make_table("people", R"({"name": ["string", 16]})"));
    THROWS(diamond::invalid, "float", db.make_table("green", R"({"name": ["float"]})"));
    db.drop_table("towns");
    THROWS(diamond::not_found, "towns", places.count());
    THROWS(diamond::not_found, "towns", db.open_table("towns"));
    THROWS(diamond::not_found, "towns", db.drop_table("towns"));
}

static void a_call_on_a_closed_handle_is_refused(const diamond::database &db) {
    diamond::table<person> people = db.open_table<person>("people");
    diamond::table<person> moved = std::move(people);
    THROWS(diamond::misuse, "NULL", people.count());
    CHECK(!people && moved && moved.count() > 0);
    THROWS(diamond::misuse, "NULL", people.find_many(std::vector<std::uint64_t>{0}));
    THROWS(diamond::misuse, "NULL", people.fetch_many_json(std::vector<std::uint64_t>{0}));
    moved.close();
    moved.close();
    THROWS(diamond::misuse, "NULL", moved.save(person_of("Abby", 29)));
}

int main(int count, char **arguments) {
    std::string folder = folder_from(count, arguments);
    diamond::database db(folder);
    auto people = db.make_table<person>("people");
    a_record_comes_back_as_it_was_saved(people);
    what_is_not_there_is_an_error_or_nothing(people);
    nulls_travel_with_the_record(people);
    an_update_starts_over_where_another_was_faster(people);
    many_records_travel_in_any_contiguous_range(people);
    records_travel_as_json(people);
    tables_have_names(db, people);
    a_call_on_a_closed_handle_is_refused(db);

    // All of it is there after closing and opening again.
    std::uint64_t before = people.count();
    people.close();
    db.close();
    db = diamond::database(folder);
    CHECK(db.open_table<person>("people").count() == before && db.verify().is_sound());
    std::puts("tables: ok");
    return 0;
}
