// The header from C++17: a handle closes itself, and a record is any struct that can be copied as bytes.
#include "check.h"

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

struct Close {
    void operator()(diamond_db *db) const { diamond_close(db); }
    void operator()(diamond_table *table) const { diamond_table_close(table); }
    void operator()(diamond_cursor *cursor) const { diamond_cursor_close(cursor); }
    void operator()(char *text) const { diamond_free(text); }
};

template <typename T> using Handle = std::unique_ptr<T, Close>;

static_assert(std::is_same<diamond_status, std::int32_t>::value, "a status is a plain integer");
static_assert(std::is_trivially_copyable<person>::value, "a record is bytes");

int main(int argc, char **argv) {
    Handle<diamond_db> db(open_folder(argc, argv));
    Handle<diamond_table> people(people_of(db.get()));

    std::vector<person> rows;
    for (int age = 20; age < 30; age++) rows.push_back(person_of("Abby", age));
    diamond_records records{};
    records.struct_size = sizeof records;
    records.records = rows.data();
    std::uint64_t first = 0, id = 0;
    OK(diamond_table_save_many(people.get(), &records, rows.size(), &first));

    diamond_cursor *opened = nullptr;
    OK(diamond_table_scan(people.get(), nullptr, &opened));
    Handle<diamond_cursor> cursor(opened);
    std::size_t visited = 0;
    person found{};
    while (diamond_cursor_next(cursor.get(), &id, &found, sizeof found, nullptr) == DIAMOND_STATUS_OK) {
        CHECK(person_is(&found, &rows[id - first]));
        visited++;
    }
    CHECK(visited == rows.size());

    char *text = nullptr;
    std::size_t size = 0;
    OK(diamond_table_fetch_json(people.get(), first, 0, &text, &size));
    Handle<char> json(text);
    CHECK(std::string(json.get(), size).find("Abby") != std::string::npos);

    std::puts("tables in C++: ok");
    return 0;
}
