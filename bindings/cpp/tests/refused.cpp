// What does not compile, and the sentence that says why. tests/run compiles this once for each line that begins with
// "CASE", with that number, and looks for its sentence in what the compiler says.
#include <diamonddb.hpp>

#include <string>
#include <vector>

struct city {
    diamond::text<40> name;
    static constexpr auto fields() { return diamond::fields(diamond::field("name", &city::name)); }
};

template <class Member> struct holder {
    Member it;
    static constexpr auto fields() { return diamond::fields(diamond::field("it", &holder::it)); }
};

struct undescribed {
    int it;
};

struct derived : holder<int> {
    int more;
};

void compiled(diamond::database &db, diamond::table<city> &cities, const std::vector<city> &rows) {
    std::vector<std::uint64_t> ids(rows.size());
    std::vector<int> small_ids(rows.size());
#if CASE == 0 // nothing is wrong
    cities.save_many(rows);
    cities.erase_many(ids);
#elif CASE == 1 // a record says what it holds by `static constexpr auto fields()`
    db.make_table<undescribed>("them");
#elif CASE == 2 // an array in a record is of char (a text), unsigned char or std::byte (bytes)
    db.make_table<holder<int[3]>>("them");
#elif CASE == 3 // no type of field lies in memory as this member does
    db.make_table<holder<int *>>("them");
#elif CASE == 4 // no type of field lies in memory as this member does
    db.make_table<holder<std::string>>("them");
#elif CASE == 5 // no type of field lies in memory as this member does
    db.make_table<holder<char>>("them");
#elif CASE == 6 // a record lies in memory as a C struct does
    db.make_table<derived>("them");
#elif CASE == 7 // ids are a contiguous range of std::uint64_t
    cities.erase_many(small_ids);
#elif CASE == 8 // many records are a contiguous range of the table's struct
    cities.save_many(ids);
#elif CASE == 9 // records are fetched into a range that is not const
    cities.fetch_many(ids, rows);
#elif CASE == 10 // progress takes two numbers of bytes and says whether to go on
    db.backup("copy", [](int) {});
#elif CASE == 11 // deleted
    diamond::table<city> copy = cities;
#elif CASE == 12 // a field of type ["number", n] is a double
    (void)diamond::field("it", &holder<float>::it).number(3);
#elif CASE == 13 // a text that is counted in characters is a char[3 * n]
    (void)diamond::field("it", &holder<char[4]>::it).characters();
#elif CASE == 14 // a field of type ["timestamp"] is an int64_t
    (void)diamond::field("it", &holder<int>::it).time();
#elif CASE == 15 // a field of type ["bool"] is a bool or a uint8_t
    (void)diamond::field("it", &holder<int>::it).boolean();
#endif
    (void)db, (void)cities, (void)small_ids;
}
