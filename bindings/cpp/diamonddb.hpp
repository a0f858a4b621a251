// DiamondDB in C++17: the handles, records, errors and modules of diamonddb.h as a C++ programmer expects them.
//
// diamonddb.h is the manual of what each verb does, README.md beside this file that of the C++ side. One idea carries
// all of it: a record is a plain struct, described once by pointers to its members, so that a table of records is
// typed. What always holds here:
//
// 1. A handle moves and does not copy. Its destructor closes it and keeps silent; close() says whether that went well.
// 2. What fails throws diamond::error, or the class of its status that derives from it, with the library's sentence.
// 3. const methods may be called from every thread at once; of a batch or a cursor, one thread at a time calls any.
// 4. A table<T> is open only if T lies in memory as its records do: size, alignment, and each field's place and type.
// 5. No exception goes into the library: one of a module becomes the error of the call that asked the module.
//
// What a handle is to C is its get(), for calls of diamonddb.h that have no place here.
#ifndef DIAMONDDB_HPP
#define DIAMONDDB_HPP

#include <diamonddb.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iterator>
#include <locale>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace diamond {

// Errors ==============================================================================================================

/// What every call throws that fails. what() is the library's sentence: it names the table, field, id or file.
class error : public std::runtime_error {
  public:
    error(diamond_status status, const std::string &sentence) : std::runtime_error(sentence), status_(status) {}

    /// DIAMOND_STATUS_...; divided by 100 it is the class that says what to do about it.
    diamond_status status() const noexcept { return status_; }

  private:
    diamond_status status_;
};

/// The error of one status. The names below are what one catches.
template <diamond_status Status> class error_of : public error {
  public:
    explicit error_of(const std::string &sentence) : error(Status, sentence) {}
};

using misuse = error_of<DIAMOND_STATUS_MISUSE>;
using closed = error_of<DIAMOND_STATUS_CLOSED>;
using forked = error_of<DIAMOND_STATUS_FORKED>;
using wrong_thread = error_of<DIAMOND_STATUS_WRONG_THREAD>;
using invalid = error_of<DIAMOND_STATUS_INVALID>;
using unsupported = error_of<DIAMOND_STATUS_UNSUPPORTED>;
using too_large = error_of<DIAMOND_STATUS_TOO_LARGE>;
using not_found = error_of<DIAMOND_STATUS_NOT_FOUND>;
using out_of_range = error_of<DIAMOND_STATUS_OUT_OF_RANGE>;
using schema_differs = error_of<DIAMOND_STATUS_SCHEMA_DIFFERS>;
using conflict = error_of<DIAMOND_STATUS_CONFLICT>;
using busy = error_of<DIAMOND_STATUS_BUSY>;
using locked = error_of<DIAMOND_STATUS_LOCKED>;
using full = error_of<DIAMOND_STATUS_FULL>;
using unavailable = error_of<DIAMOND_STATUS_UNAVAILABLE>;
using timed_out = error_of<DIAMOND_STATUS_TIMEOUT>;
using cancelled = error_of<DIAMOND_STATUS_CANCELLED>;
using commit_unknown = error_of<DIAMOND_STATUS_COMMIT_UNKNOWN>;
using io_failed = error_of<DIAMOND_STATUS_IO>;
using corrupt = error_of<DIAMOND_STATUS_CORRUPT>;
using poisoned = error_of<DIAMOND_STATUS_POISONED>;
using wrong_format = error_of<DIAMOND_STATUS_FORMAT>;
using no_memory = error_of<DIAMOND_STATUS_NO_MEMORY>;
using panicked = error_of<DIAMOND_STATUS_PANIC>;
using module_failed = error_of<DIAMOND_STATUS_MODULE>;

namespace detail {

[[noreturn]] inline void raise(diamond_status status, const std::string &sentence) {
    switch (status) {
    case DIAMOND_STATUS_MISUSE: throw misuse(sentence);
    case DIAMOND_STATUS_CLOSED: throw closed(sentence);
    case DIAMOND_STATUS_FORKED: throw forked(sentence);
    case DIAMOND_STATUS_WRONG_THREAD: throw wrong_thread(sentence);
    case DIAMOND_STATUS_INVALID: throw invalid(sentence);
    case DIAMOND_STATUS_UNSUPPORTED: throw unsupported(sentence);
    case DIAMOND_STATUS_TOO_LARGE: throw too_large(sentence);
    case DIAMOND_STATUS_NOT_FOUND: throw not_found(sentence);
    case DIAMOND_STATUS_OUT_OF_RANGE: throw out_of_range(sentence);
    case DIAMOND_STATUS_SCHEMA_DIFFERS: throw schema_differs(sentence);
    case DIAMOND_STATUS_CONFLICT: throw conflict(sentence);
    case DIAMOND_STATUS_BUSY: throw busy(sentence);
    case DIAMOND_STATUS_LOCKED: throw locked(sentence);
    case DIAMOND_STATUS_FULL: throw full(sentence);
    case DIAMOND_STATUS_UNAVAILABLE: throw unavailable(sentence);
    case DIAMOND_STATUS_TIMEOUT: throw timed_out(sentence);
    case DIAMOND_STATUS_CANCELLED: throw cancelled(sentence);
    case DIAMOND_STATUS_COMMIT_UNKNOWN: throw commit_unknown(sentence);
    case DIAMOND_STATUS_IO: throw io_failed(sentence);
    case DIAMOND_STATUS_CORRUPT: throw corrupt(sentence);
    case DIAMOND_STATUS_POISONED: throw poisoned(sentence);
    case DIAMOND_STATUS_FORMAT: throw wrong_format(sentence);
    case DIAMOND_STATUS_NO_MEMORY: throw no_memory(sentence);
    case DIAMOND_STATUS_PANIC: throw panicked(sentence);
    case DIAMOND_STATUS_MODULE: throw module_failed(sentence);
    default: throw error(status, sentence);
    }
}

/// Throws what the last call of this thread said, if it failed.
inline void check(diamond_status status) {
    if (status != DIAMOND_STATUS_OK) raise(status, diamond_error_message());
}

/// There is no such record: never given, or deleted.
inline bool is_missing(diamond_status status) {
    return status == DIAMOND_STATUS_NOT_FOUND || status == DIAMOND_STATUS_OUT_OF_RANGE;
}

/// A text that the library gives, and how the call ended that gave it.
struct answer {
    diamond_status status;
    std::string sentence;
    std::string text;

    void check() const {
        if (status != DIAMOND_STATUS_OK) raise(status, sentence);
    }
};

/// Makes a call whose last arguments are char ** and size_t *, and throws nothing of what it says: some give a text
/// although they fail.
template <class Call> answer ask(Call call) {
    struct free_text {
        void operator()(char *text) const { diamond_free(text); }
    };
    char *text = nullptr;
    std::size_t size = 0;
    diamond_status status = call(&text, &size);
    std::string sentence = status == DIAMOND_STATUS_OK ? "" : diamond_error_message(); // Before any other call.
    std::unique_ptr<char, free_text> owner(text);
    return {status, std::move(sentence), text ? std::string(text, size) : std::string()};
}

template <class Call> std::string text_from(Call call) {
    answer it = ask(call);
    it.check();
    return std::move(it.text);
}

template <class> inline constexpr bool never = false;

} // namespace detail

/// The version of the library that runs, "major.minor.patch".
inline std::string_view version() { return diamond_version(); }

// Handles =============================================================================================================

/// A handle of the library and its owner. Closed or moved from, it is empty, and its verbs throw misuse.
template <class Raw, diamond_status (*Close)(Raw *)> class handle {
  public:
    handle() noexcept = default;
    /// Takes over a handle that a call of diamonddb.h gave.
    explicit handle(Raw *raw) noexcept : raw_(raw) {}
    handle(handle &&other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
    handle &operator=(handle &&other) noexcept {
        if (this != &other) {
            if (raw_) Close(raw_);
            raw_ = std::exchange(other.raw_, nullptr);
        }
        return *this;
    }
    ~handle() {
        if (raw_) Close(raw_);
    }

    /// The handle as diamonddb.h knows it; it stays this object's.
    Raw *get() const noexcept { return raw_; }
    explicit operator bool() const noexcept { return raw_ != nullptr; }

    /// Closes it now, and throws what the destructor would keep for itself. Closing an empty one does nothing.
    void close() {
        Raw *raw = std::exchange(raw_, nullptr);
        diamond_status status = Close(raw);
        if (status == DIAMOND_STATUS_WRONG_THREAD) raw_ = raw; // It is still open, to be closed on its own thread.
        detail::check(status);
    }

  private:
    Raw *raw_ = nullptr;
};

// Reading JSON ========================================================================================================

namespace detail {

/// A JSON text that the library wrote, read into values: reports, statistics and layouts, nothing of the user's.
class json {
  public:
    static json parse(std::string_view text) {
        reader from{text, 0};
        return from.value();
    }

    /// The member of that name, or nullptr.
    const json *find(std::string_view key) const {
        for (std::size_t i = 0; i < keys_.size(); i++)
            if (keys_[i] == key) return &items_[i];
        return nullptr;
    }

    /// The member of that name, which the header promises.
    const json &operator[](std::string_view key) const {
        if (const json *found = find(key)) return *found;
        raise(DIAMOND_STATUS_UNSUPPORTED, "The library's report has no \"" + std::string(key) +
                                              "\": diamonddb.hpp was written for another version of it.");
    }

    const std::vector<json> &items() const { return items_; }
    const std::string &text() const { return text_; }
    bool is_null() const { return text_ == "null" && !is_text_; }
    bool is_true() const { return text_ == "true" && !is_text_; }

    /// A number, whatever the locale of the program.
    template <class Number> std::optional<Number> number() const {
        std::istringstream stream(text_);
        stream.imbue(std::locale::classic());
        Number value{};
        return stream >> value && stream.peek() == std::istringstream::traits_type::eof() ? std::optional(value)
                                                                                         : std::nullopt;
    }

    std::uint64_t count() const { return number<std::uint64_t>().value_or(0); }

  private:
    struct reader {
        std::string_view text;
        std::size_t at;

        json value() {
            json it;
            switch (peek()) {
            case '{': members(it, '}'); break;
            case '[': members(it, ']'); break;
            case '"': it.is_text_ = true, it.text_ = string(); break;
            default: it.text_ = literal();
            }
            return it;
        }

        void members(json &it, char end) {
            for (at++; peek() != end;) {
                if (end == '}') it.keys_.push_back(string()), expect(':');
                it.items_.push_back(value());
                if (peek() != end) expect(',');
            }
            at++;
        }

        std::string literal() {
            std::size_t begin = at;
            while (at < text.size() && std::strchr(",]} \t\r\n", text[at]) == nullptr) at++;
            return std::string(text.substr(begin, at - begin));
        }

        std::string string() {
            std::string out;
            for (expect('"'); next() != '"'; at++) {
                if (text[at] != '\\') out += text[at];
                else at++, out += escaped();
            }
            at++;
            return out;
        }

        /// Of the escapes with a number the library writes only those of control characters.
        std::string escaped() {
            static constexpr std::string_view names = "bfnrt", meanings = "\b\f\n\r\t";
            char name = next();
            if (name == 'u') {
                unsigned code = 0;
                for (int i = 0; i < 4; i++) {
                    at++;
                    code = code * 16 + static_cast<unsigned>(std::string_view("0123456789abcdef").find(next()));
                }
                return std::string(1, static_cast<char>(code));
            }
            std::size_t known = names.find(name);
            return std::string(1, known == names.npos ? name : meanings[known]);
        }

        char peek() {
            while (at < text.size() && std::strchr(" \t\r\n", text[at])) at++;
            return next();
        }

        char next() const {
            if (at >= text.size()) raise(DIAMOND_STATUS_UNSUPPORTED, "A text of the library ends amid its JSON.");
            return text[at];
        }

        void expect(char wanted) {
            if (peek() != wanted)
                raise(DIAMOND_STATUS_UNSUPPORTED,
                      std::string("A text of the library is no JSON: there is no ") + wanted + " at byte " +
                          std::to_string(at) + ".");
            at++;
        }
    };

    bool is_text_ = false;
    std::string text_; // Of a text its characters; of a number, true, false and null how they are written.
    std::vector<std::string> keys_;
    std::vector<json> items_;
};

/// A text as JSON.
inline std::string quoted(std::string_view text) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string out = "\"";
    for (char letter : text) {
        auto code = static_cast<unsigned char>(letter);
        if (letter == '"' || letter == '\\') out += '\\', out += letter;
        else if (code < 0x20) out += "\\u00", out += digits[code / 16u], out += digits[code % 16u];
        else out += letter;
    }
    return out + '"';
}

} // namespace detail

// Fields ==============================================================================================================

/// A field of type ["timestamp"]: microseconds since 1970 UTC.
using timestamp = std::chrono::time_point<std::chrono::system_clock, std::chrono::duration<std::int64_t, std::micro>>;

/// The text in a char[n] of a record: up to its first NUL, or all n bytes.
template <std::size_t N> std::string_view text_of(const char (&bytes)[N]) noexcept {
    const void *end = std::memchr(bytes, 0, N);
    return {bytes, end ? static_cast<std::size_t>(static_cast<const char *>(end) - bytes) : N};
}

/// Puts a text into a char[n] of a record, zeros behind it. Throws invalid where it does not fit; nothing is cut.
template <std::size_t N> void set_text(char (&bytes)[N], std::string_view text) {
    if (text.size() > N)
        detail::raise(DIAMOND_STATUS_INVALID, "A text of " + std::to_string(text.size()) +
                                                  " bytes does not fit into a field of " + std::to_string(N) + ".");
    std::memset(bytes, 0, N);
    if (!text.empty()) std::memcpy(bytes, text.data(), text.size());
}

/// A field of type ["string", N]: a char[N] with the manners of a string. Giving it a longer text throws invalid.
template <std::size_t N> struct text {
    char bytes[N] = {};

    text() = default;
    text(std::string_view from) { set_text(bytes, from); }
    text(const std::string &from) { set_text(bytes, from); }
    text(const char *from) { set_text(bytes, from); }

    std::string_view view() const noexcept { return text_of(bytes); }
    operator std::string_view() const noexcept { return view(); }

    template <class Text, class = std::enable_if_t<std::is_convertible_v<const Text &, std::string_view>>>
    friend bool operator==(const text &left, const Text &right) {
        return left.view() == std::string_view(right);
    }
    template <class Text, class = std::enable_if_t<std::is_convertible_v<const Text &, std::string_view>>>
    friend bool operator!=(const text &left, const Text &right) {
        return left.view() != std::string_view(right);
    }
};

/// A field's type as a schema has it, ["string", 15, "required"]. A width of 0 says that the type takes none.
struct field_type {
    std::string_view name;
    std::size_t width = 0;
    bool is_characters = false;
    bool is_required = false;

    std::string json() const {
        std::string out = "[\"" + std::string(name) + '"';
        if (width > 0) out += ", " + std::to_string(width);
        if (is_characters) out += ", \"characters\"";
        if (is_required) out += ", \"required\"";
        return out + ']';
    }
};

namespace detail {

template <class Byte> constexpr field_type type_of_array(std::size_t size) {
    if constexpr (std::is_same_v<Byte, char>) return {"string", size};
    else if constexpr (std::is_same_v<Byte, unsigned char> || std::is_same_v<Byte, std::byte>) return {"bytes", size};
    else static_assert(never<Byte>, "an array in a record is of char (a text), unsigned char or std::byte (bytes)");
}

template <class Member> constexpr field_type type_of_number() {
    constexpr bool is_character = std::is_same_v<Member, char> || std::is_same_v<Member, wchar_t> ||
                                  std::is_same_v<Member, char16_t> || std::is_same_v<Member, char32_t>;
    constexpr std::string_view names[] = {"u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"};
    constexpr std::size_t power = sizeof(Member) == 1 ? 0 : sizeof(Member) == 2 ? 1 : sizeof(Member) == 4 ? 2 : 3;
    if constexpr (std::is_same_v<Member, bool>) return {"bool"};
    else if constexpr (std::is_same_v<Member, float>) return {"f32"};
    else if constexpr (std::is_same_v<Member, double>) return {"f64"};
    else if constexpr (std::is_integral_v<Member> && !is_character && sizeof(Member) <= 8)
        return {names[power + (std::is_signed_v<Member> ? 4 : 0)]};
    else
        static_assert(never<Member>, "no type of field lies in memory as this member does: see README.md, Records");
}

/// The type of field that a member is if nothing else is said.
template <class Member> struct type_of {
    static constexpr field_type value() {
        if constexpr (std::is_enum_v<Member>) return type_of_number<std::underlying_type_t<Member>>();
        else return type_of_number<Member>();
    }
};
template <> struct type_of<timestamp> {
    static constexpr field_type value() { return {"timestamp"}; }
};
template <std::size_t N> struct type_of<text<N>> {
    static constexpr field_type value() { return {"string", N}; }
};
template <class Byte, std::size_t N> struct type_of<Byte[N]> {
    static constexpr field_type value() { return type_of_array<Byte>(N); }
};
template <class Byte, std::size_t N> struct type_of<std::array<Byte, N>> {
    static constexpr field_type value() { return type_of_array<Byte>(N); }
};

template <class Record, class> struct has_fields : std::false_type {};
template <class Record> struct has_fields<Record, std::void_t<decltype(Record::fields())>> : std::true_type {};

} // namespace detail

/// A member of a record and the field that it is. Its methods give a copy that says more.
template <class Record, class Member> struct field_of {
    std::string_view name;
    Member Record::*member;
    field_type type;

    /// Refuses null.
    constexpr field_of required() const {
        field_of it = *this;
        it.type.is_required = true;
        return it;
    }
    /// Of a double: ["number", width], whose shortest text has at most width characters, width up to 24.
    constexpr field_of number(std::size_t width) const {
        static_assert(std::is_same_v<Member, double>, "a field of type [\"number\", n] is a double");
        return of_type({"number", width});
    }
    /// Of a char[3 * n]: ["string", n, "characters"], a text of at most n UTF-16 units.
    constexpr field_of characters() const {
        static_assert(detail::type_of<Member>::value().name == "string" && sizeof(Member) % 3 == 0,
                      "a text that is counted in characters is a char[3 * n]");
        return of_type({"string", sizeof(Member) / 3, true});
    }
    /// Of an int64_t: ["timestamp"], microseconds since 1970 UTC. A diamond::timestamp is one already.
    constexpr field_of time() const {
        static_assert(std::is_same_v<Member, std::int64_t>, "a field of type [\"timestamp\"] is an int64_t");
        return of_type({"timestamp"});
    }
    /// Of a uint8_t: ["bool"], 0 or 1. A bool is one already.
    constexpr field_of boolean() const {
        static_assert(std::is_same_v<Member, std::uint8_t>, "a field of type [\"bool\"] is a bool or a uint8_t");
        return of_type({"bool"});
    }

  private:
    constexpr field_of of_type(field_type other) const {
        other.is_required = type.is_required;
        return {name, member, other};
    }
};

/// Describes a member as the field of that name. The name is a literal, or lives as long as the program.
template <class Record, class Member>
constexpr field_of<Record, Member> field(std::string_view name, Member Record::*member) {
    return {name, member, detail::type_of<Member>::value()};
}

/// All fields of a record, in the order of its members.
template <class... Fields> constexpr std::tuple<Fields...> fields(Fields... all) { return {all...}; }

/// Which fields a record has: what `static constexpr auto fields()` of the struct gives. For a struct that is not yours
/// to change, specialize this with such a function.
template <class Record> struct description {
    static_assert(detail::has_fields<Record, void>::value,
                  "a record says what it holds by `static constexpr auto fields()`: see README.md, Records");
    static constexpr auto fields() { return Record::fields(); }
};

/// Which fields of a record are null: the bitmap that travels beside it.
template <class Record> class nulls {
  public:
    static constexpr std::size_t field_count = std::tuple_size_v<decltype(description<Record>::fields())>;

    /// No field is.
    nulls() = default;
    /// These are: nulls<City>(&City::population, &City::country).
    template <class Owner, class Member, class... More>
    explicit nulls(Member Owner::*member, More... more) {
        set(member);
        (set(more), ...);
    }

    template <class Owner, class Member> nulls &set(Member Owner::*member, bool is_null = true) {
        std::size_t index = index_of(member);
        unsigned bit = 1u << index % 8;
        bytes_[index / 8] = static_cast<std::uint8_t>(is_null ? bytes_[index / 8] | bit : bytes_[index / 8] & ~bit);
        return *this;
    }

    /// Whether that field is null: entry.nulls[&City::population].
    template <class Owner, class Member> bool operator[](Member Owner::*member) const {
        std::size_t index = index_of(member);
        return (bytes_[index / 8] >> index % 8 & 1) != 0;
    }

    bool any() const noexcept { return *this != nulls(); }
    std::uint8_t *data() noexcept { return bytes_.data(); }
    const std::uint8_t *data() const noexcept { return bytes_.data(); }
    static constexpr std::size_t size() noexcept { return (field_count + 7) / 8; }

    friend bool operator==(const nulls &left, const nulls &right) noexcept { return left.bytes_ == right.bytes_; }
    friend bool operator!=(const nulls &left, const nulls &right) noexcept { return left.bytes_ != right.bytes_; }

  private:
    template <class Field, class Pointer> static constexpr bool is(const Field &field, Pointer member) {
        if constexpr (std::is_same_v<decltype(field.member), Pointer>) return field.member == member;
        else return false;
    }

    template <class Pointer> static std::size_t index_of(Pointer member) {
        std::size_t index = 0;
        auto is_this = [&](const auto &field) { return is(field, member) || (index++, false); };
        bool found = std::apply([&](const auto &...each) { return (is_this(each) || ...); },
                                description<Record>::fields());
        if (!found) detail::raise(DIAMOND_STATUS_INVALID, "A member was named that the record's fields() leave out.");
        return index;
    }

    std::array<std::uint8_t, (field_count + 7) / 8> bytes_{};
};

/// A record with its id and its nulls: what a scan visits. `auto [id, city, nulls] = cities.fetch_entry(7)`.
template <class Record> struct entry {
    std::uint64_t id = 0;
    Record record{};
    diamond::nulls<Record> nulls{};
};

/// A record on its way in: cities.save(city), or with what is null, cities.save({city, nulls}), or as it came out,
/// cities.replace(entry.id, entry). Refers to what it is made of.
template <class Record> class source {
  public:
    source(const Record &record) noexcept : record_(&record) {}
    source(const Record &record, const nulls<Record> &nulls) noexcept : record_(&record), nulls_(nulls.data()) {}
    source(const entry<Record> &entry) noexcept : source(entry.record, entry.nulls) {}

    const Record *record() const noexcept { return record_; }
    const std::uint8_t *nulls_data() const noexcept { return nulls_; }

  private:
    const Record *record_;
    const std::uint8_t *nulls_ = nullptr;
};

// Layouts =============================================================================================================

/// Where a field lies in a packed record, in bytes, and its type as a schema has it.
struct field_layout {
    std::string name;
    std::string type;
    std::size_t offset;
    std::size_t size;
};

/// Where everything in a packed record lies, in bytes.
struct layout {
    std::size_t record_size = 0;
    std::size_t alignment = 0;
    std::size_t nulls_size = 0;
    std::vector<field_layout> fields;
};

namespace detail {

template <class Record, class Owner, class Member>
field_layout place_of(const Record &sample, const field_of<Owner, Member> &field) {
    auto begin = reinterpret_cast<const char *>(&sample);
    auto place = reinterpret_cast<const char *>(&(sample.*field.member));
    return {std::string(field.name), field.type.json(), static_cast<std::size_t>(place - begin), sizeof(Member)};
}

inline layout read_layout(std::string_view text) {
    json given = json::parse(text);
    auto bytes = [](const json &of, std::string_view key) { return static_cast<std::size_t>(of[key].count()); };
    layout it{bytes(given, "record_size"), bytes(given, "alignment"), bytes(given, "nulls_size"), {}};
    for (const json &field : given["fields"].items()) {
        field_type type{field["type"].text()};
        if (const json *width = field.find("width")) type.width = static_cast<std::size_t>(width->count());
        if (const json *characters = field.find("characters")) type.is_characters = characters->is_true();
        if (const json *required = field.find("required")) type.is_required = required->is_true();
        it.fields.push_back({field["name"].text(), type.json(), bytes(field, "offset"), bytes(field, "size")});
    }
    return it;
}

/// How a field of the table differs from the one at its place in the struct, or nothing.
inline std::string difference(const field_layout &ours, const field_layout &theirs) {
    auto told = [&](std::string_view what, const std::string &our, const std::string &their) {
        return "field " + quoted(ours.name) + std::string(what) + our + " in the table and " + their + " in the struct";
    };
    if (ours.type != theirs.type) return told(" is ", ours.type, theirs.type);
    auto bytes = [](std::size_t count) { return std::to_string(count) + (count == 1 ? " byte" : " bytes"); };
    if (ours.size != theirs.size) return told(" takes ", bytes(ours.size), bytes(theirs.size));
    if (ours.offset == theirs.offset) return {};
    return told(" lies at byte ", std::to_string(ours.offset), "at byte " + std::to_string(theirs.offset));
}

/// How the layout of a table differs from that of a struct: a phrase about the first difference, or nothing.
inline std::string difference(const layout &ours, const layout &theirs) {
    for (std::size_t i = 0; i < std::max(ours.fields.size(), theirs.fields.size()); i++) {
        std::string place = "field " + std::to_string(i + 1) + " is ";
        if (i >= theirs.fields.size())
            return place + quoted(ours.fields[i].name) + " in the table, and the struct's fields() end before it";
        if (i >= ours.fields.size())
            return place + quoted(theirs.fields[i].name) + " in the struct, and the table has none there";
        if (ours.fields[i].name != theirs.fields[i].name)
            return place + quoted(ours.fields[i].name) + " in the table and " + quoted(theirs.fields[i].name) +
                   " in the struct";
        std::string found = difference(ours.fields[i], theirs.fields[i]);
        if (!found.empty()) return found;
    }
    auto sizes = [](std::string what, std::size_t our, std::size_t their) {
        return what + std::to_string(our) + " in the table and " + std::to_string(their) + " in the struct";
    };
    if (ours.record_size != theirs.record_size)
        return sizes("the record's size in bytes is ", ours.record_size, theirs.record_size);
    if (ours.alignment != theirs.alignment)
        return sizes("the record's alignment in bytes is ", ours.alignment, theirs.alignment);
    return {};
}

} // namespace detail

/// Where the compiler put everything in a record.
template <class Record> layout layout_of() {
    const Record sample{};
    layout it{sizeof(Record), alignof(Record), nulls<Record>::size(), {}};
    std::apply([&](const auto &...each) { (it.fields.push_back(detail::place_of(sample, each)), ...); },
               description<Record>::fields());
    return it;
}

/// The schema that a record's fields make, as make_table takes it.
template <class Record> std::string schema_of() {
    std::string schema;
    auto add = [&](const auto &field) {
        schema += (schema.empty() ? "{" : ", ") + detail::quoted(field.name) + ": " + field.type.json();
    };
    std::apply([&](const auto &...each) { (add(each), ...); }, description<Record>::fields());
    return schema + '}';
}

// Ranges ==============================================================================================================

namespace detail {

/// Walks what a cursor still has: each record once. The end is an iterator of nothing.
template <class Cursor> class input_iterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = typename Cursor::value_type;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type *;
    using reference = const value_type &;

    input_iterator() noexcept = default;
    explicit input_iterator(Cursor *from) noexcept : from_(from) {}

    reference operator*() const { return from_->current(); }
    pointer operator->() const { return &from_->current(); }
    input_iterator &operator++() {
        if (!from_->advance()) from_ = nullptr;
        return *this;
    }
    void operator++(int) { ++*this; }

    friend bool operator==(const input_iterator &left, const input_iterator &right) noexcept {
        return left.from_ == right.from_;
    }
    friend bool operator!=(const input_iterator &left, const input_iterator &right) noexcept {
        return !(left == right);
    }

  private:
    Cursor *from_ = nullptr;
};

template <class Range> using place_in = std::remove_pointer_t<decltype(std::data(std::declval<Range &>()))>;
template <class Range> using element_of = std::remove_cv_t<place_in<Range>>;

/// Ids in any contiguous range of uint64_t.
template <class Ids> const std::uint64_t *data_of_ids(const Ids &ids) {
    static_assert(std::is_same_v<element_of<const Ids>, std::uint64_t>, "ids are a contiguous range of std::uint64_t");
    return std::data(ids);
}

inline void check_counts(std::size_t left, const char *what, std::size_t right, const char *others) {
    if (left != right)
        raise(DIAMOND_STATUS_INVALID, std::to_string(left) + ' ' + what + " go with " + std::to_string(right) + ' ' +
                                          others + "; there must be as many of both");
}

/// Any contiguous range of records, or of entries, as C takes it. What only reads them does not write there.
template <class Record, class Range> diamond_records records_in(Range &range) {
    diamond_records it{};
    it.struct_size = sizeof it;
    using element = element_of<Range>;
    if constexpr (std::is_same_v<element, entry<Record>>) {
        auto first = const_cast<entry<Record> *>(std::data(range));
        it.record_stride = it.null_stride = sizeof *first;
        if (std::size(range) > 0) it.records = &first->record, it.nulls = first->nulls.data();
    } else {
        static_assert(std::is_same_v<element, Record>,
                      "many records are a contiguous range of the table's struct, or of entries of it");
        it.records = const_cast<Record *>(std::data(range));
    }
    return it;
}

/// The same with the nulls of each in a range of their own.
template <class Record, class Range, class Nulls> diamond_records records_in(Range &range, Nulls &null_range) {
    static_assert(std::is_same_v<element_of<Range>, Record>, "records whose nulls are apart are the table's struct");
    static_assert(std::is_same_v<element_of<Nulls>, nulls<Record>>, "nulls are a contiguous range of diamond::nulls");
    check_counts(std::size(range), "records", std::size(null_range), "nulls");
    diamond_records it = records_in<Record>(range);
    if (std::size(range) > 0) it.nulls = const_cast<nulls<Record> *>(std::data(null_range))->data();
    return it;
}

} // namespace detail

/// Which records a scan visits, as diamond_scan_options: from first_id up to before end_id, where 0 is all.
struct scan_options {
    std::uint64_t first_id = 0;
    std::uint64_t end_id = 0;
    bool reverse = false;
};

/// How integers of 64 bits come out as JSON.
enum class json_style : std::uint32_t {
    /// As text only beyond 2^53.
    plain = 0,
    int64_as_text = DIAMOND_JSON_INT64_AS_TEXT,
};

/// A table's records as they were when the scan began, once each, as entry<Record>: for (auto &[id, city, nulls] :
/// cities.scan()). They are read some kilobytes at a time. An iterator is good until the cursor moves or ends.
template <class Record> class cursor : public handle<diamond_cursor, diamond_cursor_close> {
  public:
    using value_type = entry<Record>;
    using iterator = detail::input_iterator<cursor>;

    using handle::handle;

    /// The first record that was not visited yet.
    iterator begin() { return iterator(at_ < chunk_.size() || load() ? this : nullptr); }
    iterator end() const noexcept { return {}; }

  private:
    friend iterator;
    static constexpr std::size_t chunk_size = 16 * 1024;
    static constexpr std::size_t capacity = std::max<std::size_t>(chunk_size / sizeof(entry<Record>), 1);

    const value_type &current() const { return chunk_[at_]; }
    bool advance() { return ++at_ < chunk_.size() || load(); }

    bool load() {
        at_ = 0;
        chunk_.resize(capacity);
        ids_.resize(capacity);
        diamond_records records = detail::records_in<Record>(chunk_);
        std::size_t count = 0;
        diamond_status status = diamond_cursor_next_many(get(), ids_.data(), capacity, &records, &count);
        chunk_.resize(status == DIAMOND_STATUS_OK ? count : 0);
        if (status != DIAMOND_STATUS_END) detail::check(status);
        for (std::size_t i = 0; i < chunk_.size(); i++) chunk_[i].id = ids_[i];
        return !chunk_.empty();
    }

    std::vector<value_type> chunk_;
    std::vector<std::uint64_t> ids_;
    std::size_t at_ = 0;
};

/// A record as JSON, and its id.
struct json_entry {
    std::uint64_t id = 0;
    std::string json;
};

/// The same over records as JSON, as json_entry.
class json_cursor : public handle<diamond_cursor, diamond_cursor_close> {
  public:
    using value_type = json_entry;
    using iterator = detail::input_iterator<json_cursor>;

    json_cursor() noexcept = default;
    explicit json_cursor(diamond_cursor *raw, json_style style = json_style::plain) noexcept
        : handle(raw), style_(style) {}

    iterator begin() { return iterator((is_loaded_ && get()) || advance() ? this : nullptr); }
    iterator end() const noexcept { return {}; }

  private:
    friend iterator;

    const value_type &current() const { return current_; }

    bool advance() {
        is_loaded_ = false;
        bool is_end = false;
        detail::answer next = detail::ask([&](char **text, std::size_t *size) {
            auto flags = static_cast<std::uint32_t>(style_);
            diamond_status status = diamond_cursor_next_json(get(), flags, &current_.id, text, size);
            is_end = status == DIAMOND_STATUS_END;
            return is_end ? DIAMOND_STATUS_OK : status;
        });
        next.check();
        current_.json = std::move(next.text);
        return is_loaded_ = !is_end;
    }

    json_style style_ = json_style::plain;
    bool is_loaded_ = false;
    json_entry current_;
};

/// A record where it lies in a pin, with its id and its nulls: good until the pin is closed.
template <class Record> struct pinned {
    std::uint64_t id;
    const Record &record;
    const diamond::nulls<Record> &nulls;
};

/// All records of a table in one piece of memory, as they were at one moment, read where they lie: for (auto [id, city,
/// nulls] : cities.pin()). What is visited is pinned<Record>, in the order of the ids; the padding of a record in
/// place can hold anything. The pin outlives its table and its database; iterators and references do not outlive it.
template <class Record> class pin : public handle<diamond_pin, diamond_pin_close> {
  public:
    class iterator;
    using value_type = pinned<Record>;
    using const_iterator = iterator;

    pin() noexcept = default;
    explicit pin(diamond_pin *raw, const diamond_slots &slots) noexcept : handle(raw), slots_(slots) {}
    pin(pin &&other) noexcept : handle(std::move(other)), slots_(std::exchange(other.slots_, {})) {}
    pin &operator=(pin &&other) noexcept {
        handle::operator=(std::move(other));
        slots_ = std::exchange(other.slots_, {});
        return *this;
    }

    iterator begin() const noexcept { return iterator(slots_, 0); }
    iterator end() const noexcept { return iterator(slots_, slots_.count); }

    /// The place of that id's record, or end() where there is none.
    iterator find(std::uint64_t id) const noexcept {
        return id < slots_.count && iterator::is_there(slots_, id) ? iterator(slots_, id) : end();
    }

    /// Where the slots lie, for loops of one's own. Every id is below its count; some may have no record.
    const diamond_slots &slots() const noexcept { return slots_; }

    /// Closes the pin: nothing of it may be read any more.
    void close() {
        slots_ = {};
        handle::close();
    }

  private:
    diamond_slots slots_{};
};

template <class Record> class pin<Record>::iterator {
  public:
    using iterator_concept = std::forward_iterator_tag;
    using iterator_category = std::forward_iterator_tag; // What it gives is no reference, as with std::vector<bool>.
    using value_type = pinned<Record>;
    using difference_type = std::ptrdiff_t;
    using reference = pinned<Record>;
    struct pointer {
        pinned<Record> it;
        const pinned<Record> *operator->() const { return &it; }
    };

    iterator() noexcept = default;
    iterator(const diamond_slots &slots, std::uint64_t id) noexcept : slots_(slots), id_(id) { skip(); }

    reference operator*() const noexcept { return {id_, record_at(slots_, id_), nulls_at(slots_, id_)}; }
    pointer operator->() const noexcept { return {**this}; }
    iterator &operator++() noexcept {
        id_++;
        skip();
        return *this;
    }
    iterator operator++(int) noexcept {
        iterator before = *this;
        ++*this;
        return before;
    }

    friend bool operator==(const iterator &left, const iterator &right) noexcept { return left.id_ == right.id_; }
    friend bool operator!=(const iterator &left, const iterator &right) noexcept { return left.id_ != right.id_; }

  private:
    friend pin;

    static bool is_there(const diamond_slots &slots, std::uint64_t id) noexcept {
        return slots.base[id * slots.stride + slots.state_offset] != 0;
    }
    static const Record &record_at(const diamond_slots &slots, std::uint64_t id) noexcept {
        return *std::launder(reinterpret_cast<const Record *>(slots.base + id * slots.stride));
    }
    static const nulls<Record> &nulls_at(const diamond_slots &slots, std::uint64_t id) noexcept {
        auto place = slots.base + id * slots.stride + slots.nulls_offset;
        return *std::launder(reinterpret_cast<const nulls<Record> *>(place));
    }

    void skip() noexcept {
        while (id_ < slots_.count && !is_there(slots_, id_)) id_++;
    }

    diamond_slots slots_{};
    std::uint64_t id_ = 0;
};

// Tables ==============================================================================================================

/// What saving many records as JSON gave: their ids follow each other from first_id on.
struct saved_json {
    std::uint64_t first_id = 0;
    std::size_t count = 0;
};

/// An open table, of whatever records: what needs no struct.
class any_table : public handle<diamond_table, diamond_table_close> {
  public:
    using handle::handle;

    /// The table's name at this moment.
    std::string name() const {
        return detail::text_from([&](char **out, std::size_t *size) { return diamond_table_name(get(), out, size); });
    }
    /// The schema as JSON, as make_table takes it.
    std::string schema() const {
        return detail::text_from([&](char **out, std::size_t *size) { return diamond_table_schema(get(), out, size); });
    }
    /// Where everything in a packed record lies.
    diamond::layout layout() const {
        return detail::read_layout(detail::text_from(
            [&](char **out, std::size_t *size) { return diamond_table_layout(get(), out, size); }));
    }
    /// How many records there are: saved and not deleted.
    std::uint64_t count() const {
        std::uint64_t count = 0;
        detail::check(diamond_table_count(get(), &count));
        return count;
    }
    /// The id that the next save will get, if no other save comes before it.
    std::uint64_t next_id() const {
        std::uint64_t id = 0;
        detail::check(diamond_table_next_id(get(), &id));
        return id;
    }

    /// Deletes the record, and commits. Its id is not given again.
    void erase(std::uint64_t id) const { detail::check(diamond_table_delete(get(), id)); }
    /// Deletes all of them in one commit, or none.
    template <class Ids> void erase_many(const Ids &ids) const {
        detail::check(diamond_table_delete_many(get(), detail::data_of_ids(ids), std::size(ids)));
    }

    /// Saves a JSON object, commits it, and gives its id.
    std::uint64_t save_json(std::string_view json) const {
        std::uint64_t id = 0;
        detail::check(diamond_table_save_json(get(), json.data(), json.size(), &id));
        return id;
    }
    /// Saves a JSON array of objects in one commit.
    saved_json save_many_json(std::string_view json) const {
        saved_json saved;
        detail::check(
            diamond_table_save_many_json(get(), json.data(), json.size(), &saved.first_id, &saved.count));
        return saved;
    }
    /// The record as a JSON object.
    std::string fetch_json(std::uint64_t id, json_style style = json_style::plain) const {
        return detail::text_from([&](char **out, std::size_t *size) {
            return diamond_table_fetch_json(get(), id, static_cast<std::uint32_t>(style), out, size);
        });
    }
    /// The records as a JSON array, null where there is none of that id.
    template <class Ids> std::string fetch_many_json(const Ids &ids, json_style style = json_style::plain) const {
        const std::uint64_t *first = detail::data_of_ids(ids);
        std::vector<diamond_status> statuses(std::size(ids));
        detail::answer fetched = detail::ask([&](char **out, std::size_t *size) {
            return diamond_table_fetch_many_json(get(), first, std::size(ids), static_cast<std::uint32_t>(style), out,
                                                 size, statuses.data());
        });
        if (!detail::is_missing(fetched.status) || fetched.text.empty()) fetched.check();
        // The first failure says that a record is not there; a later one can be worse. Asked alone, it says why.
        for (std::size_t i = 0; i < statuses.size(); i++)
            if (statuses[i] != DIAMOND_STATUS_OK && !detail::is_missing(statuses[i])) fetch_json(first[i], style);
        return std::move(fetched.text);
    }
    void replace_json(std::uint64_t id, std::string_view json) const {
        detail::check(diamond_table_replace_json(get(), id, json.data(), json.size()));
    }
    /// Replaces it only if it still is `expected`; else throws conflict.
    void replace_if_json(std::uint64_t id, std::string_view expected, std::string_view json) const {
        detail::check(diamond_table_replace_if_json(get(), id, expected.data(), expected.size(), json.data(),
                                                    json.size()));
    }
    /// Replaces all of them by a JSON array of as many objects in one commit, or none.
    template <class Ids> void replace_many_json(const Ids &ids, std::string_view json) const {
        detail::check(diamond_table_replace_many_json(get(), detail::data_of_ids(ids), std::size(ids), json.data(),
                                                      json.size()));
    }
    /// The records as they are now, one after the other as JSON.
    json_cursor scan_json(const scan_options &options = {}, json_style style = json_style::plain) const {
        return json_cursor(open_cursor(options), style);
    }

  protected:
    diamond_cursor *open_cursor(const scan_options &options) const {
        diamond_scan_options given{};
        given.struct_size = sizeof given;
        given.flags = options.reverse ? std::uint64_t{DIAMOND_SCAN_REVERSE} : 0;
        given.first_id = options.first_id;
        given.end_id = options.end_id;
        diamond_cursor *raw = nullptr;
        detail::check(diamond_table_scan(get(), &given, &raw));
        return raw;
    }
};

/// An open table whose records are this struct. It also has all verbs of any_table.
template <class Record> class table : public any_table {
    static_assert(std::is_trivially_copyable_v<Record>, "a record is copied as bytes: it holds no string or vector");
    static_assert(std::is_standard_layout_v<Record>, "a record lies in memory as a C struct does");
    static_assert(std::is_default_constructible_v<Record>, "a record can be made before it is fetched");

  public:
    table() noexcept = default;
    /// Takes the handle over, and throws schema_differs if the table's records do not lie in memory as the struct does.
    explicit table(any_table opened) : any_table(std::move(opened)) { check_layout(); }

    /// Saves a record, commits it, and gives its id.
    std::uint64_t save(source<Record> record) const {
        std::uint64_t id = 0;
        detail::check(diamond_table_save(get(), record.record(), sizeof(Record), record.nulls_data(), &id));
        return id;
    }
    /// The record of that id. Fields that are null are zeros; fetch_entry tells which.
    Record fetch(std::uint64_t id) const {
        Record record; // The library writes all of it.
        detail::check(diamond_table_fetch(get(), id, &record, sizeof record, nullptr));
        return record;
    }
    entry<Record> fetch_entry(std::uint64_t id) const {
        entry<Record> found{id};
        detail::check(fetch_to(found));
        return found;
    }
    /// The record of that id, or nothing where there is none: never given, or deleted.
    std::optional<Record> find(std::uint64_t id) const {
        std::optional<Record> found(std::in_place);
        if (!is_there(diamond_table_fetch(get(), id, &*found, sizeof *found, nullptr))) found.reset();
        return found;
    }
    std::optional<entry<Record>> find_entry(std::uint64_t id) const {
        std::optional<entry<Record>> found(entry<Record>{id});
        if (!is_there(fetch_to(*found))) found.reset();
        return found;
    }
    void replace(std::uint64_t id, source<Record> record) const {
        detail::check(diamond_table_replace(get(), id, record.record(), sizeof(Record), record.nulls_data()));
    }
    /// Replaces it only if it still is `expected`; else throws conflict: read it again and decide.
    void replace_if(std::uint64_t id, source<Record> expected, source<Record> record) const {
        detail::check(replace_expected(id, expected, record));
    }
    /// Deletes it only if it still is `expected`; else throws conflict.
    void erase_if(std::uint64_t id, source<Record> expected) const {
        detail::check(
            diamond_table_delete_if(get(), id, expected.record(), sizeof(Record), expected.nulls_data()));
    }
    /// Reads the record, has `edit` change it, and replaces it if it still is what was read, else all over again: so
    /// edit may be called more than once. It takes a Record &, or a Record & and a nulls<Record> &.
    template <class Edit> void update(std::uint64_t id, Edit edit) const {
        for (;;) {
            const entry<Record> before = fetch_entry(id);
            entry<Record> after = before;
            if constexpr (std::is_invocable_v<Edit &, Record &, nulls<Record> &>) edit(after.record, after.nulls);
            else edit(after.record);
            diamond_status status = replace_expected(id, before, after);
            if (status == DIAMOND_STATUS_OK) return;
            if (status != DIAMOND_STATUS_CONFLICT) detail::check(status);
        }
    }

    /// Saves all records of any contiguous range in one commit, and gives the first of their ids, which follow each
    /// other; 0 if there are none. The range is of records, or of entries, whose nulls are saved and whose ids are not.
    template <class Records> std::uint64_t save_many(const Records &records) const {
        return save_all(detail::records_in<Record>(records), std::size(records));
    }
    /// The same with a range of as many nulls.
    template <class Records, class Nulls>
    std::uint64_t save_many(const Records &records, const Nulls &nulls) const {
        return save_all(detail::records_in<Record>(records, nulls), std::size(records));
    }
    /// The records of these ids; throws if one is not there.
    template <class Ids> std::vector<Record> fetch_many(const Ids &ids) const {
        std::vector<Record> records(std::size(ids));
        fetch_many(ids, records);
        return records;
    }
    /// Copies the records of these ids into a range of as many records, or of entries. After an error it may hold
    /// anything.
    template <class Ids, class Records> void fetch_many(const Ids &ids, Records &&records) const {
        constexpr bool is_writable = !std::is_const_v<detail::place_in<Records>>;
        static_assert(is_writable, "records are fetched into a range that is not const");
        const std::uint64_t *first = detail::data_of_ids(ids);
        detail::check_counts(std::size(ids), "ids", std::size(records), "records");
        diamond_records places = detail::records_in<Record>(records);
        detail::check(diamond_table_fetch_many(get(), first, std::size(ids), &places, nullptr));
        if constexpr (std::is_same_v<detail::element_of<Records>, entry<Record>>)
            for (std::size_t i = 0; i < std::size(ids); i++) std::data(records)[i].id = first[i];
    }
    /// The records of these ids, and nothing in the place of one that is not there.
    template <class Ids> std::vector<std::optional<Record>> find_many(const Ids &ids) const {
        const std::uint64_t *first = detail::data_of_ids(ids);
        std::vector<std::optional<Record>> found(std::size(ids), std::optional<Record>(std::in_place));
        std::vector<diamond_status> statuses(std::size(ids), DIAMOND_STATUS_MISUSE); // Of a call that tries none.
        diamond_records places{};
        places.struct_size = sizeof places;
        places.record_stride = sizeof(std::optional<Record>);
        if (!found.empty()) places.records = &*found.front();
        diamond_table_fetch_many(get(), first, found.size(), &places, statuses.data());
        for (std::size_t i = 0; i < found.size(); i++) {
            if (detail::is_missing(statuses[i])) found[i].reset();
            else if (statuses[i] != DIAMOND_STATUS_OK) found[i] = find(first[i]); // Asked alone, it says why.
        }
        return found;
    }
    /// Replaces all of them in one commit, or none.
    template <class Ids, class Records> void replace_many(const Ids &ids, const Records &records) const {
        replace_all(ids, detail::records_in<Record>(records), std::size(records));
    }
    template <class Ids, class Records, class Nulls>
    void replace_many(const Ids &ids, const Records &records, const Nulls &nulls) const {
        replace_all(ids, detail::records_in<Record>(records, nulls), std::size(records));
    }

    /// The records as they are now, one after the other, whatever is written meanwhile.
    cursor<Record> scan(const scan_options &options = {}) const { return cursor<Record>(open_cursor(options)); }

    /// The whole table as it is now, to be read in place. It reads all of it once, to check it.
    diamond::pin<Record> pin() const {
        diamond_slots slots{};
        slots.struct_size = sizeof slots;
        diamond_pin *raw = nullptr;
        detail::check(diamond_pin_open(get(), &slots, &raw));
        return diamond::pin<Record>(raw, slots);
    }

  private:
    void check_layout() const {
        std::string found = detail::difference(layout(), layout_of<Record>());
        if (!found.empty())
            detail::raise(DIAMOND_STATUS_SCHEMA_DIFFERS,
                          "table " + name() + " cannot be read by this program's struct: " + found);
    }

    diamond_status fetch_to(entry<Record> &found) const {
        return diamond_table_fetch(get(), found.id, &found.record, sizeof found.record, found.nulls.data());
    }

    static bool is_there(diamond_status status) {
        if (!detail::is_missing(status)) detail::check(status);
        return status == DIAMOND_STATUS_OK;
    }

    diamond_status replace_expected(std::uint64_t id, source<Record> expected, source<Record> record) const {
        return diamond_table_replace_if(get(), id, expected.record(), sizeof(Record), expected.nulls_data(),
                                        record.record(), sizeof(Record), record.nulls_data());
    }

    std::uint64_t save_all(const diamond_records &records, std::size_t count) const {
        std::uint64_t first_id = 0;
        detail::check(diamond_table_save_many(get(), &records, count, count > 0 ? &first_id : nullptr));
        return first_id;
    }

    template <class Ids> void replace_all(const Ids &ids, const diamond_records &records, std::size_t count) const {
        detail::check_counts(std::size(ids), "ids", count, "records");
        detail::check(diamond_table_replace_many(get(), detail::data_of_ids(ids), count, &records));
    }
};

// Batches =============================================================================================================

/// What a commit gave.
struct committed {
    /// The ids of the batch's saves, over all tables, in the order in which they were added.
    std::vector<std::uint64_t> ids;
    /// The commit's place in the order of all commits, for wait_durable.
    std::uint64_t lsn = 0;
};

/// Writes to any tables of one database, and expectations of what records still are: all of it is committed, or none.
class batch : public handle<diamond_batch, diamond_batch_close> {
  public:
    using handle::handle;

    /// Adds a save, and gives its place among committed::ids.
    template <class Record>
    std::size_t save(const table<Record> &table, std::common_type_t<source<Record>> record) {
        detail::check(
            diamond_batch_save(get(), table.get(), record.record(), sizeof(Record), record.nulls_data()));
        return saves_++;
    }
    template <class Record>
    void replace(const table<Record> &table, std::uint64_t id, std::common_type_t<source<Record>> record) {
        detail::check(
            diamond_batch_replace(get(), table.get(), id, record.record(), sizeof(Record), record.nulls_data()));
    }
    void erase(const any_table &table, std::uint64_t id) {
        detail::check(diamond_batch_delete(get(), table.get(), id));
    }
    /// Adds an expectation: at the commit the record is what was read, else conflict.
    template <class Record>
    void expect(const table<Record> &table, std::uint64_t id, std::common_type_t<source<Record>> record) {
        detail::check(
            diamond_batch_expect(get(), table.get(), id, record.record(), sizeof(Record), record.nulls_data()));
    }

    std::size_t save_json(const any_table &table, std::string_view json) {
        detail::check(diamond_batch_save_json(get(), table.get(), json.data(), json.size()));
        return saves_++;
    }
    void replace_json(const any_table &table, std::uint64_t id, std::string_view json) {
        detail::check(diamond_batch_replace_json(get(), table.get(), id, json.data(), json.size()));
    }
    void expect_json(const any_table &table, std::uint64_t id, std::string_view json) {
        detail::check(diamond_batch_expect_json(get(), table.get(), id, json.data(), json.size()));
    }

    /// Commits all of it or nothing. Afterwards the batch is empty and serves again; after an error of the caller, an
    /// answer or a "not now" (statuses below 400) it is as it was.
    committed commit() { return commit_with(0); }
    /// Commits without waiting until that is durable: wait_durable does, with the commit's lsn.
    committed commit_no_wait() { return commit_with(DIAMOND_COMMIT_NO_WAIT); }

  private:
    committed commit_with(std::uint32_t flags) {
        committed done;
        done.ids.resize(saves_);
        detail::check(diamond_batch_commit(get(), flags, done.ids.data(), done.ids.size(), &done.lsn));
        saves_ = 0;
        return done;
    }

    std::size_t saves_ = 0;
};

// Snapshots ===========================================================================================================

/// All tables as they were when it was opened. Its tables take every verb that reads.
class snapshot : public handle<diamond_snapshot, diamond_snapshot_close> {
  public:
    using handle::handle;

    /// Opens a table as of then, by the name that it had then.
    any_table open_table(std::string_view name) const {
        diamond_table *raw = nullptr;
        detail::check(diamond_snapshot_table(get(), name.data(), name.size(), &raw));
        return any_table(raw);
    }
    template <class Record> table<Record> open_table(std::string_view name) const {
        return table<Record>(open_table(name));
    }
};

// Modules =============================================================================================================

/// A change of one record, as a module hears of it. What it refers to is there during the call only.
struct change {
    std::uint32_t table;
    std::uint64_t id;
    diamond_stamp stamp;
    /// The record is gone; record and nulls are empty.
    bool is_delete;
    std::string_view record;
    std::string_view nulls;
};

namespace detail {

inline change change_from(const diamond_change &from) {
    auto bytes = [](const void *first, std::size_t size) {
        return size > 0 ? std::string_view(static_cast<const char *>(first), size) : std::string_view();
    };
    return {from.table, from.id, from.stamp, from.kind == DIAMOND_CHANGE_DELETE, bytes(from.record, from.record_size),
            bytes(from.nulls, from.nulls_size)};
}

inline void give_record(diamond_reply *reply, std::size_t index, const diamond_stamp &stamp, std::string_view record,
                        std::string_view nulls) {
    check(diamond_reply_record(reply, index, &stamp, record.data(), record.size(),
                               reinterpret_cast<const std::uint8_t *>(nulls.data()), nulls.size()));
}

template <class Module> class seat;

} // namespace detail

/// What stores and caches have in common. What a method of a store throws is thrown by the call of the database that
/// needed it, as module_failed with what() in its sentence; that of a cache is counted. No method calls the database
/// that is calling it.
class any_module {
  public:
    any_module() = default;
    any_module(const any_module &) = delete;
    any_module &operator=(const any_module &) = delete;
    virtual ~any_module() = default;

    /// What messages call it.
    virtual std::string name() const { return {}; }
    /// DIAMOND_MODULE_...: without flags its methods are called from any thread, many at once.
    virtual std::uint64_t flags() const { return 0; }

  private:
    template <class> friend class detail::seat;
    std::atomic<bool> is_seated_{false};
};

/// The changes of one call of store(), each of another record.
class changes {
  public:
    class iterator;

    changes(const diamond_change *first, std::size_t count, std::int32_t *items)
        : first_(first), count_(count), items_(items) {}

    std::size_t size() const noexcept { return count_; }
    change operator[](std::size_t index) const { return detail::change_from(first_[index]); }
    iterator begin() const;
    iterator end() const;

    /// This one was not done, and the others were.
    void fail(std::size_t index) const { items_[index] = 0; }
    /// This one may have been done.
    void leave_unknown(std::size_t index) const { items_[index] = DIAMOND_MODULE_AMBIGUOUS; }

  private:
    const diamond_change *first_;
    std::size_t count_;
    std::int32_t *items_;
};

class changes::iterator {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = change;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = change;

    iterator() noexcept = default;
    explicit iterator(const diamond_change *at) noexcept : at_(at) {}
    change operator*() const { return detail::change_from(*at_); }
    iterator &operator++() { return at_++, *this; }
    iterator operator++(int) { return iterator(at_++); }
    friend bool operator==(const iterator &left, const iterator &right) { return left.at_ == right.at_; }
    friend bool operator!=(const iterator &left, const iterator &right) { return left.at_ != right.at_; }

  private:
    const diamond_change *at_ = nullptr;
};

inline changes::iterator changes::begin() const { return iterator(first_); }
inline changes::iterator changes::end() const { return iterator(first_ + count_); }

/// The ids that one call of fetch() asks for, and the place for what is found. Of what is not there nothing is said.
class wanted {
  public:
    wanted(const std::uint64_t *ids, std::size_t count, std::int32_t *items, diamond_reply *reply)
        : ids_(ids), count_(count), items_(items), reply_(reply) {}

    std::size_t size() const noexcept { return count_; }
    std::uint64_t operator[](std::size_t index) const { return ids_[index]; }
    const std::uint64_t *begin() const noexcept { return ids_; }
    const std::uint64_t *end() const noexcept { return ids_ + count_; }

    /// Gives the record of the id at index; it is copied at once.
    void found(std::size_t index, const diamond_stamp &stamp, std::string_view record, std::string_view nulls) const {
        detail::give_record(reply_, index, stamp, record, nulls);
        items_[index] = DIAMOND_MODULE_OK;
    }
    /// This one could not be looked for.
    void fail(std::size_t index) const { items_[index] = 0; }

  private:
    const std::uint64_t *ids_;
    std::size_t count_;
    std::int32_t *items_;
    diamond_reply *reply_;
};

/// Where a store's initialize() tells what is there.
class inventory {
  public:
    explicit inventory(diamond_reply *reply) : reply_(reply) {}

    /// The text of the last update_meta() that was persisted; not called where there was none.
    void meta(std::string_view tables) const {
        detail::check(diamond_reply_meta(reply_, tables.data(), tables.size()));
    }
    /// A record with this id and version was once stored. The highest of each table are enough.
    void stored(std::uint32_t table, std::uint64_t id, std::uint64_t version) const {
        detail::check(diamond_reply_stored(reply_, table, id, version));
    }

  private:
    diamond_reply *reply_;
};

/// Where the records of a database lie: diamond_store_module of diamonddb.h says what its methods promise. One that
/// does not know whether it did what it was asked throws commit_unknown.
class store_module : public any_module {
  public:
    virtual void initialize(const inventory &found) = 0;
    virtual void make_table(std::uint32_t table, std::string_view meta) = 0;
    virtual void update_meta(std::string_view tables) = 0;
    virtual void store(const changes &all) = 0;
    virtual void fetch(std::uint32_t table, const wanted &ids) = 0;
    virtual void persist_all() = 0;
};

/// The place for the record that a cache's fetch() finds.
class cache_reply {
  public:
    explicit cache_reply(diamond_reply *reply) : reply_(reply) {}

    /// Gives the record; it is copied at once. Not called where there is none.
    void found(const diamond_stamp &stamp, std::string_view record, std::string_view nulls) {
        detail::give_record(reply_, 0, stamp, record, nulls);
        is_found_ = true;
    }
    bool is_found() const noexcept { return is_found_; }

  private:
    diamond_reply *reply_;
    bool is_found_ = false;
};

/// What remembers records nearer by: diamond_cache_module of diamonddb.h says what its methods promise.
class cache_module : public any_module {
  public:
    virtual void store(const change &change) = 0;
    virtual void fetch(std::uint32_t table, std::uint64_t id, cache_reply &reply) = 0;
    virtual void clear() = 0;
};

namespace detail {

/// Runs what a module does, so that nothing it throws goes further.
template <class Act> std::int32_t guarded(diamond_reply *reply, Act act) noexcept {
    auto say = [&](const char *text) { diamond_reply_error(reply, text, std::strlen(text)); };
    try {
        return act();
    } catch (const commit_unknown &failure) {
        say(failure.what());
        return DIAMOND_MODULE_AMBIGUOUS;
    } catch (const std::exception &failure) {
        say(failure.what());
    } catch (...) {
        say("it threw what is no std::exception");
    }
    return 0; // Whatever is not one of the three answers is a failure.
}

/// A module in the place of a C struct's context, from the call that gives it to the library until destroy.
template <class Module> class seat {
  public:
    seat(std::shared_ptr<Module> module, bool *is_destroyed) : module_(std::move(module)), is_destroyed_(is_destroyed) {
        if (module_->is_seated_.exchange(true))
            raise(DIAMOND_STATUS_MISUSE, "The module \"" + module_->name() +
                                             "\" is in use by another database; each database has its own.");
    }
    seat(const seat &) = delete;
    seat &operator=(const seat &) = delete;
    ~seat() { module_->is_seated_ = false; }

    /// The call that took it has returned.
    void settle() noexcept { is_destroyed_ = nullptr; }

    static void destroy(void *context) noexcept {
        auto it = static_cast<seat *>(context);
        if (it->is_destroyed_) *it->is_destroyed_ = true;
        delete it;
    }

    /// Calls a method of the module in the context; OK if it returns.
    template <class Act> static std::int32_t call(void *context, diamond_reply *reply, Act act) noexcept {
        return guarded(reply, [&]() -> std::int32_t {
            act(*static_cast<seat *>(context)->module_);
            return DIAMOND_MODULE_OK;
        });
    }

  private:
    std::shared_ptr<Module> module_;
    bool *is_destroyed_;
};

/// A module that is offered to the library by one call: whether that took it or not, it is let go of once.
template <class Module> class offer {
  public:
    explicit offer(const std::shared_ptr<Module> &module) {
        if (!module) return;
        name_ = module->name();
        seat_ = std::make_unique<seat<Module>>(module, &is_destroyed_);
        struct_.struct_size = sizeof struct_;
        struct_.flags = module->flags();
        struct_.context = seat_.get();
        struct_.name = name_.c_str();
        struct_.destroy = seat<Module>::destroy;
        fill(struct_);
    }
    offer(const offer &) = delete;
    offer &operator=(const offer &) = delete;

    auto *get() const { return seat_ ? &struct_ : nullptr; }

    /// The call has returned: what the library took is its own, or destroyed already.
    void settle(bool is_taken) noexcept {
        if (!seat_ || !(is_taken || is_destroyed_)) return;
        if (!is_destroyed_) seat_->settle();
        seat_.release();
    }

  private:
    static void fill(diamond_store_module &it) {
        using place = seat<store_module>;
        it.initialize = [](void *context, diamond_reply *reply) {
            return place::call(context, reply, [&](store_module &store) { store.initialize(inventory(reply)); });
        };
        it.make_table = [](void *context, std::uint32_t table, const char *meta, std::size_t size,
                           diamond_reply *reply) {
            return place::call(context, reply, [&](store_module &store) { store.make_table(table, {meta, size}); });
        };
        it.update_meta = [](void *context, const char *tables, std::size_t size, diamond_reply *reply) {
            return place::call(context, reply, [&](store_module &store) { store.update_meta({tables, size}); });
        };
        it.store = [](void *context, const diamond_change *all, std::size_t count, std::int32_t *items,
                      diamond_reply *reply) {
            return place::call(context, reply, [&](store_module &store) { store.store(changes(all, count, items)); });
        };
        it.fetch = [](void *context, std::uint32_t table, const std::uint64_t *ids, std::size_t count,
                      std::int32_t *items, diamond_reply *reply) {
            return place::call(context, reply,
                               [&](store_module &store) { store.fetch(table, wanted(ids, count, items, reply)); });
        };
        it.persist_all = [](void *context, diamond_reply *reply) {
            return place::call(context, reply, [](store_module &store) { store.persist_all(); });
        };
    }

    static void fill(diamond_cache_module &it) {
        using place = seat<cache_module>;
        it.store = [](void *context, const diamond_change *change, diamond_reply *reply) {
            return place::call(context, reply, [&](cache_module &cache) { cache.store(change_from(*change)); });
        };
        it.fetch = [](void *context, std::uint32_t table, std::uint64_t id, diamond_reply *reply) {
            cache_reply found(reply);
            std::int32_t answer =
                place::call(context, reply, [&](cache_module &cache) { cache.fetch(table, id, found); });
            return answer == DIAMOND_MODULE_OK && !found.is_found() ? std::int32_t{DIAMOND_MODULE_MISS} : answer;
        };
        it.clear = [](void *context, diamond_reply *reply) {
            return place::call(context, reply, [](cache_module &cache) { cache.clear(); });
        };
    }

    static constexpr bool is_store = std::is_same_v<Module, store_module>;
    std::conditional_t<is_store, diamond_store_module, diamond_cache_module> struct_{};
    std::string name_;
    bool is_destroyed_ = false;
    std::unique_ptr<seat<Module>> seat_;
};

} // namespace detail

/// Whether a module keeps a promise of its contract.
struct checked_promise {
    std::string promise;
    bool is_kept;
    /// How it is broken, if it is.
    std::string broken;
};

/// What trying a module found.
struct contract_report {
    std::string module;
    std::vector<checked_promise> promises;

    bool is_kept() const {
        return std::all_of(promises.begin(), promises.end(), [](const checked_promise &it) { return it.is_kept; });
    }
};

namespace detail {

inline contract_report read_contract(const answer &given) {
    if (given.status != DIAMOND_STATUS_MODULE) given.check();
    json report = json::parse(given.text);
    contract_report it{report["module"].text(), {}};
    for (const json &promise : report["promises"].items()) {
        const json &broken = promise["broken"];
        it.promises.push_back(
            {promise["promise"].text(), promise["kept"].is_true(), broken.is_null() ? "" : broken.text()});
    }
    return it;
}

} // namespace detail

/// Tries whether a cache keeps its promises; broken ones are in the report. It is let go of afterwards.
[[nodiscard]] inline contract_report check_cache_module(std::shared_ptr<cache_module> cache) {
    detail::offer<cache_module> offered(cache);
    detail::answer report = detail::ask([&](char **text, std::size_t *size) {
        diamond_status status = diamond_check_cache_module(offered.get(), text, size);
        offered.settle(false);
        return status;
    });
    return detail::read_contract(report);
}

/// Tries a store for a new, empty place. `again`, if not null, is another over the same data, which is initialized
/// after the first was let go of, to see what it finds.
[[nodiscard]] inline contract_report check_store_module(std::shared_ptr<store_module> store,
                                                        std::shared_ptr<store_module> again = nullptr) {
    detail::offer<store_module> offered(store), second(again);
    store.reset(), again.reset();
    detail::answer report = detail::ask([&](char **text, std::size_t *size) {
        diamond_status status = diamond_check_store_module(offered.get(), second.get(), text, size);
        offered.settle(false), second.settle(false);
        return status;
    });
    return detail::read_contract(report);
}

// Databases ===========================================================================================================

/// What a call that commits waits for, and so what its commit survives.
enum class durability : std::int32_t {
    /// A power cut.
    sync = DIAMOND_DURABILITY_SYNC,
    /// The end of the process, kill -9 among the ways.
    os = DIAMOND_DURABILITY_OS,
    /// Neither, until the next interval, flush or close.
    async = DIAMOND_DURABILITY_ASYNC,
};

/// How to open a database; diamond_options of diamonddb.h says what each means and what 0 stands for.
struct options {
    diamond::durability durability = diamond::durability::sync;
    bool must_exist = false;
    bool read_only = false;
    bool no_threads = false;
    bool force_network = false;
    bool read_with_pread = false;
    bool in_memory = false;
    /// How often durability::async syncs by itself.
    std::chrono::milliseconds interval{0};
    std::uint64_t dirty_soft = 0;
    std::uint64_t dirty_hard = 0;
    /// Bytes of memory for the built-in cache.
    std::uint64_t cache_bytes = 0;
    /// Where the records lie, and what remembers them nearer by. The database lets go of both when it is closed; until
    /// then no other can have them.
    std::shared_ptr<store_module> store;
    std::shared_ptr<cache_module> cache;
};

/// What reading everything found.
struct verify_report {
    struct finding {
        std::string file;
        std::string message;
    };

    std::uint64_t tables = 0;
    std::uint64_t pages = 0;
    std::uint64_t records = 0;
    std::vector<finding> findings;

    bool is_sound() const noexcept { return findings.empty(); }
};

/// A table as the list of all has it; sizes in bytes.
struct table_info {
    std::string name;
    std::uint64_t next_id;
    std::uint64_t count;
    std::size_t record_size;
    std::size_t slot_size;
};

/// Figures about an open database. diamond_stats says what there is.
class statistics {
  public:
    explicit statistics(std::string json) : json_(std::move(json)), values_(detail::json::parse(json_)) {}

    /// All of it, as the library wrote it.
    const std::string &json() const noexcept { return json_; }
    /// A figure by its name, one within another by "cache.hits"; nothing where there is none, or no number.
    std::optional<double> number(std::string_view name) const { return value<double>(name); }
    /// The same for what is counted.
    std::optional<std::uint64_t> count(std::string_view name) const { return value<std::uint64_t>(name); }

  private:
    template <class Number> std::optional<Number> value(std::string_view name) const {
        const detail::json *at = &values_;
        for (std::size_t dot = 0; at && dot != name.npos;) {
            dot = name.find('.');
            at = at->find(name.substr(0, dot));
            if (dot != name.npos) name.remove_prefix(dot + 1);
        }
        return at ? at->number<Number>() : std::nullopt;
    }

    std::string json_;
    detail::json values_;
};

namespace detail {

inline void check_abi() {
    if (diamond_abi_version() == DIAMOND_ABI_VERSION) return;
    raise(DIAMOND_STATUS_UNSUPPORTED,
          "This program was compiled for version " + std::to_string(DIAMOND_ABI_VERSION) +
              " of DiamondDB's C interface, and the library that it found, DiamondDB " + diamond_version() +
              ", has version " + std::to_string(diamond_abi_version()) + ": compile it against that library's header.");
}

inline std::uint32_t clamped(std::int64_t time, std::uint32_t longest) {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(time, 0, longest));
}

inline std::uint32_t interval_of(const options &from) {
    std::int64_t time = from.interval.count();
    std::uint32_t known = clamped(time, UINT32_MAX);
    if (known != time)
        raise(DIAMOND_STATUS_INVALID, "options.interval is " + std::to_string(time) + " ms; it is from 0 to " +
                                          std::to_string(UINT32_MAX) + " ms.");
    return known;
}

inline std::uint64_t flags_of(const options &from) {
    std::uint64_t flags = 0;
    auto add = [&](bool is_set, std::uint64_t flag) { flags |= is_set ? flag : 0; };
    add(from.must_exist, DIAMOND_OPEN_MUST_EXIST);
    add(from.read_only, DIAMOND_OPEN_READ_ONLY);
    add(from.no_threads, DIAMOND_OPEN_NO_THREADS);
    add(from.force_network, DIAMOND_OPEN_FORCE_NETWORK);
    add(from.read_with_pread, DIAMOND_OPEN_READ_WITH_PREAD);
    add(from.in_memory, DIAMOND_OPEN_IN_MEMORY);
    return flags;
}

inline diamond_db *open(std::string_view path, const options &from) {
    check_abi();
    offer<store_module> store(from.store);
    offer<cache_module> cache(from.cache);
    diamond_options given{};
    given.struct_size = sizeof given;
    given.flags = flags_of(from);
    given.durability = static_cast<std::int32_t>(from.durability);
    given.interval_ms = interval_of(from);
    given.dirty_soft = from.dirty_soft;
    given.dirty_hard = from.dirty_hard;
    given.cache_bytes = from.cache_bytes;
    given.store = store.get();
    given.cache = cache.get();
    diamond_db *raw = nullptr;
    diamond_status status = diamond_open(path.data(), path.size(), &given, &raw);
    store.settle(status == DIAMOND_STATUS_OK);
    cache.settle(status == DIAMOND_STATUS_OK);
    check(status);
    return raw;
}

/// A caller's progress, called from C: what it throws waits until the library has returned.
template <class Progress> struct watcher {
    Progress &progress;
    std::exception_ptr thrown;

    static std::int32_t watch(void *context, std::uint64_t done, std::uint64_t total) noexcept {
        auto it = static_cast<watcher *>(context);
        try {
            if (it->progress(done, total)) return DIAMOND_MODULE_OK;
        } catch (...) {
            it->thrown = std::current_exception();
        }
        return 0; // Whatever is not OK calls the backup off.
    }
};

} // namespace detail

/// An open database. Its tables, batches, cursors and snapshots may outlive it, and then throw closed.
class database : public handle<diamond_db, diamond_close> {
  public:
    database() noexcept = default;
    /// Takes over a handle that diamond_open gave.
    explicit database(diamond_db *raw) noexcept : handle(raw) {}
    /// Opens the database in the folder at path, and makes both where they are missing.
    explicit database(std::string_view path, const options &options = {}) : handle(detail::open(path, options)) {}

    /// Opens the table, and makes it where there is none by that name.
    template <class Record> table<Record> make_table(std::string_view name) const {
        return table<Record>(make_table(name, schema_of<Record>()));
    }
    any_table make_table(std::string_view name, std::string_view schema) const {
        diamond_table *raw = nullptr;
        detail::check(diamond_table_make(get(), name.data(), name.size(), schema.data(), schema.size(), &raw));
        return any_table(raw);
    }
    /// Opens a table that is there.
    template <class Record> table<Record> open_table(std::string_view name) const {
        return table<Record>(open_table(name));
    }
    any_table open_table(std::string_view name) const {
        diamond_table *raw = nullptr;
        detail::check(diamond_table_open(get(), name.data(), name.size(), &raw));
        return any_table(raw);
    }
    /// Deletes the table with all its records.
    void drop_table(std::string_view name) const {
        detail::check(diamond_table_drop(get(), name.data(), name.size()));
    }
    void rename_table(std::string_view name, std::string_view new_name) const {
        detail::check(diamond_table_rename(get(), name.data(), name.size(), new_name.data(), new_name.size()));
    }
    /// All tables by name.
    std::vector<table_info> tables() const {
        std::vector<table_info> all;
        auto list = detail::json::parse(
            detail::text_from([&](char **out, std::size_t *size) { return diamond_table_list(get(), out, size); }));
        for (const detail::json &it : list.items())
            all.push_back({it["name"].text(), it["next_id"].count(), it["count"].count(),
                           static_cast<std::size_t>(it["record_size"].count()),
                           static_cast<std::size_t>(it["slot_size"].count())});
        return all;
    }

    /// An empty batch.
    diamond::batch batch() const {
        diamond_batch *raw = nullptr;
        detail::check(diamond_batch_open(get(), &raw));
        return diamond::batch(raw);
    }
    /// All tables as they are now.
    diamond::snapshot snapshot() const {
        diamond_snapshot *raw = nullptr;
        detail::check(diamond_snapshot_open(get(), &raw));
        return diamond::snapshot(raw);
    }

    /// Makes all that was committed before durable against a power cut, whatever the durability.
    void flush() const { detail::check(diamond_flush(get())); }
    /// Writes changed pages to their files, so that the next opening is quick.
    void checkpoint() const { detail::check(diamond_checkpoint(get())); }
    /// Does upkeep for about that long at most, where no_threads leaves it to the host; true if work is left.
    bool step(std::chrono::microseconds budget) const {
        std::int32_t more = 0;
        detail::check(diamond_step(get(), detail::clamped(budget.count(), UINT32_MAX), &more));
        return more != 0;
    }
    /// Waits until the commit lsn and every earlier one is on disk, with durability::os until the system has it; 0: all
    /// that is visible.
    void wait_durable(std::uint64_t lsn = 0) const {
        detail::check(diamond_wait_durable(get(), lsn, UINT32_MAX, nullptr, 0));
    }
    /// Waits for so long at most, 0 only asks; false if that was not long enough.
    [[nodiscard]] bool wait_durable_for(std::chrono::milliseconds timeout, std::uint64_t lsn = 0) const {
        std::uint32_t time = detail::clamped(timeout.count(), UINT32_MAX - 1); // One more would be for ever.
        diamond_status status = diamond_wait_durable(get(), lsn, time, nullptr, 0);
        if (status != DIAMOND_STATUS_TIMEOUT) detail::check(status);
        return status == DIAMOND_STATUS_OK;
    }

    /// Reads everything and checks it. Damage is in the report, and does not throw.
    [[nodiscard]] verify_report verify() const {
        detail::answer given =
            detail::ask([&](char **out, std::size_t *size) { return diamond_verify(get(), out, size); });
        if (given.status != DIAMOND_STATUS_CORRUPT) given.check();
        auto report = detail::json::parse(given.text);
        verify_report it{report["tables"].count(), report["pages"].count(), report["records"].count(), {}};
        for (const detail::json &finding : report["findings"].items())
            it.findings.push_back({finding["file"].text(), finding["message"].text()});
        return it;
    }
    /// Figures about what the database has done and holds.
    statistics stats() const {
        return statistics(
            detail::text_from([&](char **out, std::size_t *size) { return diamond_stats(get(), out, size); }));
    }
    /// Copies the database as it is now to an empty folder, or to one that is not there yet.
    void backup(std::string_view path) const {
        detail::check(diamond_backup(get(), path.data(), path.size(), nullptr));
    }
    /// The same, and calls progress(done_bytes, total_bytes) meanwhile on this thread. If that returns false, the
    /// backup is called off and throws cancelled; if it throws, the backup is called off and throws the same.
    template <class Progress> void backup(std::string_view path, Progress &&progress) const {
        static_assert(std::is_invocable_r_v<bool, Progress &, std::uint64_t, std::uint64_t>,
                      "progress takes two numbers of bytes and says whether to go on");
        using watcher = detail::watcher<std::remove_reference_t<Progress>>;
        watcher watching{progress, nullptr};
        diamond_backup_options given{};
        given.struct_size = sizeof given;
        given.progress = watcher::watch;
        given.context = &watching;
        diamond_status status = diamond_backup(get(), path.data(), path.size(), &given);
        if (watching.thrown) std::rethrow_exception(watching.thrown);
        detail::check(status);
    }
};

} // namespace diamond

#endif
