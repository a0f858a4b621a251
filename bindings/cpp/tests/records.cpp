// What a struct says of itself: its schema, its layout, and that a table which does not fit it is refused and why.
#include "check.hpp"

#include <limits>

enum class colour : std::uint16_t { red = 1, blue = 65535 };

// One member of each kind that there is.
struct everything {
    char text[5];
    char characters[9];
    diamond::text<7> name;
    std::array<char, 3> code;
    std::uint8_t bytes[4];
    std::array<std::byte, 2> key;
    double measure;
    double number;
    float small;
    std::int8_t i8;
    std::int16_t i16;
    std::int32_t i32;
    std::int64_t i64;
    std::uint8_t u8;
    std::uint16_t u16;
    std::uint32_t u32;
    std::uint64_t u64;
    colour shade;
    bool flag;
    std::uint8_t old_flag;
    diamond::timestamp when;
    std::int64_t then;

    static constexpr auto fields() {
        using e = everything;
        using diamond::field;
        return diamond::fields(
            field("text", &e::text), field("characters", &e::characters).characters(), field("name", &e::name),
            field("code", &e::code).required(), field("bytes", &e::bytes), field("key", &e::key),
            field("measure", &e::measure), field("number", &e::number).required().number(5), field("small", &e::small),
            field("i8", &e::i8), field("i16", &e::i16), field("i32", &e::i32), field("i64", &e::i64),
            field("u8", &e::u8), field("u16", &e::u16), field("u32", &e::u32), field("u64", &e::u64),
            field("shade", &e::shade), field("flag", &e::flag), field("old_flag", &e::old_flag).boolean(),
            field("when", &e::when), field("then", &e::then).time().required());
    }
};

static void every_type_of_field_has_a_member(const diamond::database &db) {
    CHECK(diamond::schema_of<everything>() ==
          R"({"text": ["string", 5], "characters": ["string", 3, "characters"], "name": ["string", 7], )"
          R"("code": ["string", 3, "required"], "bytes": ["bytes", 4], "key": ["bytes", 2], "measure": ["f64"], )"
          R"("number": ["number", 5, "required"], "small": ["f32"], "i8": ["i8"], "i16": ["i16"], "i32": ["i32"], )"
          R"("i64": ["i64"], "u8": ["u8"], "u16": ["u16"], "u32": ["u32"], "u64": ["u64"], "shade": ["u16"], )"
          R"("flag": ["bool"], "old_flag": ["bool"], "when": ["timestamp"], "then": ["timestamp", "required"]})");
    auto table = db.make_table<everything>("everything");
    diamond::layout ours = table.layout(), theirs = diamond::layout_of<everything>();
    CHECK(ours.record_size == sizeof(everything) && ours.alignment == alignof(everything) && ours.nulls_size == 3);
    CHECK(ours.fields.size() == 22 && theirs.fields.size() == 22 && theirs.nulls_size == 3);
    CHECK(ours.fields[21].offset == offsetof(everything, then) && theirs.fields[21].offset == ours.fields[21].offset);

    everything it{};
    diamond::set_text(it.text, "12345");
    diamond::set_text(it.characters, "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC"); // Three euros.
    it.name = "seven";
    it.code = {'a', 'b', 0};
    it.key = {std::byte{1}, std::byte{2}};
    it.measure = 1.0 / 3;
    it.number = 12.5;
    it.i64 = std::numeric_limits<std::int64_t>::min();
    it.u64 = std::numeric_limits<std::uint64_t>::max();
    it.shade = colour::blue;
    it.flag = true;
    it.when += std::chrono::microseconds(1);
    everything found = table.fetch(table.save(it));
    CHECK(diamond::text_of(found.text) == "12345" && diamond::text_of(found.characters).size() == 9);
    CHECK(found.name == it.name && found.name != "eight" && found.code == it.code && found.key == it.key);
    CHECK(found.measure == it.measure && found.number == 12.5 && found.i64 == it.i64 && found.u64 == it.u64);
    CHECK(found.shade == colour::blue && found.flag && found.when == it.when);
    CHECK(table.fetch_json(0).find(R"("when":"1970-01-01T00:00:00.000001Z")") != std::string::npos);

    it.number = 1.0 / 3; // Its shortest text has more than five characters.
    THROWS(diamond::invalid, "number", table.save(it));
}

static void a_text_is_cut_nowhere() {
    diamond::text<4> text = "four";
    CHECK(text.view() == "four" && std::string_view(text).size() == 4);
    THROWS(diamond::invalid, "5 bytes does not fit into a field of 4", text = "fifth");
    CHECK(text == "four");
    text = std::string("ab");
    CHECK(text == "ab" && text.bytes[2] == 0 && text.bytes[3] == 0 && text == diamond::text<4>("ab"));
    text = "";
    CHECK(text.view().empty());
    char plain[3];
    diamond::set_text(plain, "abc");
    CHECK(diamond::text_of(plain) == "abc");
    diamond::set_text(plain, "d");
    CHECK(diamond::text_of(plain) == "d" && plain[2] == 0);
    THROWS(diamond::invalid, "4 bytes does not fit into a field of 3", diamond::set_text(plain, "abcd"));
}

// A struct of somebody else's, described from outside.
struct foreign {
    std::int32_t number;
};
template <> struct diamond::description<foreign> {
    static constexpr auto fields() {
        return diamond::fields(diamond::field("a \"name\" \\ \xC3\xA4", &foreign::number));
    }
};

struct misnamed {
    std::int32_t number;
    static constexpr auto fields() { return diamond::fields(diamond::field("a\n\x1F", &misnamed::number)); }
};

static void a_struct_can_be_described_from_outside(const diamond::database &db) {
    CHECK(diamond::schema_of<foreign>() == "{\"a \\\"name\\\" \\\\ \xC3\xA4\": [\"i32\"]}");
    CHECK(diamond::schema_of<misnamed>() == "{\"a\\u000a\\u001f\": [\"i32\"]}");
    THROWS(diamond::invalid, "control character", db.make_table<misnamed>("misnamed"));
    auto table = db.make_table<foreign>("foreign");
    CHECK(table.layout().fields[0].name == "a \"name\" \\ \xC3\xA4");
    CHECK(db.open_table<foreign>("foreign").fetch(table.save(foreign{7})).number == 7);
}

// Each differs from the table {"a": ["i32"], "b": ["string", 6]} in one way.
template <int> struct wrong;
#define WRONG(number, members, ...)                                              \
    template <> struct wrong<number> {                                           \
        members static constexpr auto fields() { return diamond::fields(__VA_ARGS__); } \
    }
#define FIELD(number, member) diamond::field(#member, &wrong<number>::member)

WRONG(0, std::int32_t a; char b[6];, FIELD(0, a), FIELD(0, b));
WRONG(1, std::uint32_t a; char b[6];, FIELD(1, a), FIELD(1, b));
WRONG(2, std::int32_t a; char b[5];, FIELD(2, a), FIELD(2, b));
WRONG(3, std::int32_t a; char c[6];, FIELD(3, a), FIELD(3, c));
WRONG(4, std::int32_t a; char b[6];, FIELD(4, a));
WRONG(5, std::int32_t a; char b[6]; std::uint8_t c;, FIELD(5, a), FIELD(5, b), FIELD(5, c));
WRONG(6, std::int32_t a; std::int16_t gap; char b[6];, FIELD(6, a), FIELD(6, b));
WRONG(7, std::int32_t a; char b[6]; std::int32_t tail;, FIELD(7, a), FIELD(7, b));
WRONG(8, std::int32_t a; char b[6];, FIELD(8, b), FIELD(8, a));
WRONG(9, std::int32_t a; std::uint8_t b[6];, FIELD(9, a), FIELD(9, b));
WRONG(10, std::int32_t a; char b[6];, FIELD(10, a).required(), FIELD(10, b));
WRONG(11, std::int32_t a; char b[6];, FIELD(11, a), FIELD(11, b).characters());
WRONG(14, std::uint16_t a; char b[6];, diamond::field_of<wrong, std::uint16_t>{"a", &wrong::a, {"i32"}},
      FIELD(14, b));
#pragma pack(push, 1)
WRONG(12, std::int32_t a; char b[6];, FIELD(12, a), FIELD(12, b));
#pragma pack(pop)
#pragma pack(push, 2)
WRONG(13, std::int32_t a; char b[6]; char rest[2];, FIELD(13, a), FIELD(13, b));
#pragma pack(pop)

template <int Number> static void is_refused(const diamond::database &db, std::string_view why) {
    std::string sentence = "table things cannot be read by this program's struct: " + std::string(why);
    THROWS(diamond::schema_differs, sentence, db.open_table<wrong<Number>>("things"));
    auto then = db.snapshot();
    THROWS(diamond::schema_differs, why, then.open_table<wrong<Number>>("things"));
}

static void a_struct_that_does_not_fit_is_refused_and_told_why(const diamond::database &db) {
    db.make_table("things", R"({"a": ["i32"], "b": ["string", 6]})").save_json(R"({"a": 5, "b": "five"})");
    CHECK(diamond::text_of(db.open_table<wrong<0>>("things").fetch(0).b) == "five");
    is_refused<1>(db, R"(field "a" is ["i32"] in the table and ["u32"] in the struct)");
    is_refused<2>(db, R"(field "b" is ["string", 6] in the table and ["string", 5] in the struct)");
    is_refused<3>(db, R"(field 2 is "b" in the table and "c" in the struct)");
    is_refused<4>(db, R"(field 2 is "b" in the table, and the struct's fields() end before it)");
    is_refused<5>(db, R"(field 3 is "c" in the struct, and the table has none there)");
    is_refused<6>(db, R"(field "b" lies at byte 4 in the table and at byte 6 in the struct)");
    is_refused<7>(db, R"(the record's size in bytes is 12 in the table and 16 in the struct)");
    is_refused<8>(db, R"(field 1 is "a" in the table and "b" in the struct)");
    is_refused<9>(db, R"(field "b" is ["string", 6] in the table and ["bytes", 6] in the struct)");
    is_refused<10>(db, R"(field "a" is ["i32"] in the table and ["i32", "required"] in the struct)");
    is_refused<11>(db, R"(field "b" is ["string", 6] in the table and ["string", 2, "characters"] in the struct)");
    is_refused<12>(db, R"(the record's size in bytes is 12 in the table and 10 in the struct)");
    is_refused<13>(db, R"(the record's alignment in bytes is 4 in the table and 2 in the struct)");
    is_refused<14>(db, R"(field "a" takes 4 bytes in the table and 2 bytes in the struct)");

    // One that is made of a struct fits it or is refused, too: a gap is in no schema.
    THROWS(diamond::schema_differs, "lies at byte 4", db.make_table<wrong<6>>("gap"));
    THROWS(diamond::schema_differs, "things", db.make_table<wrong<1>>("things"));
}

static void a_member_that_is_no_field_has_no_null() {
    diamond::nulls<wrong<7>> nulls;
    THROWS(diamond::invalid, "fields()", nulls.set(&wrong<7>::tail));
    nulls.set(&wrong<7>::b);
    CHECK(!nulls[&wrong<7>::a] && nulls[&wrong<7>::b] && nulls.data()[0] == 2);
}

int main(int count, char **arguments) {
    diamond::database db(folder_from(count, arguments));
    every_type_of_field_has_a_member(db);
    a_text_is_cut_nowhere();
    a_struct_can_be_described_from_outside(db);
    a_struct_that_does_not_fit_is_refused_and_told_why(db);
    a_member_that_is_no_field_has_no_null();
    std::puts("records: ok");
    return 0;
}
