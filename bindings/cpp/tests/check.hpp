// What the test programs share: checks that say where they failed, and the table of people.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <diamonddb.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            std::fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                                                 \
        }                                                                                 \
    } while (0)

// The call throws this class, and its sentence holds `part`.
#define THROWS(error_class, part, call) CHECK((throws<error_class>(part, [&] { call; })))

template <class Error, class Call> bool throws(std::string_view part, Call call) {
    try {
        call();
        std::fprintf(stderr, "nothing was thrown\n");
    } catch (const Error &thrown) {
        if (std::string_view(thrown.what()).find(part) != std::string_view::npos) return true;
        std::fprintf(stderr, "it says: %s\n", thrown.what());
    } catch (const std::exception &thrown) {
        std::fprintf(stderr, "another class was thrown: %s\n", thrown.what());
    }
    return false;
}

struct person {
    diamond::text<15> name;
    double age = 0;
    diamond::timestamp seen{};
    bool member = false;

    static constexpr auto fields() {
        return diamond::fields(diamond::field("name", &person::name).required(),
                               diamond::field("age", &person::age).number(3), diamond::field("seen", &person::seen),
                               diamond::field("member", &person::member));
    }
};

inline person person_of(std::string_view name, double age) {
    person it;
    it.name = name;
    it.age = age;
    it.seen += std::chrono::seconds(1700000000);
    it.member = true;
    return it;
}

inline bool operator==(const person &left, const person &right) {
    return left.name == right.name && left.age == right.age && left.seen == right.seen && left.member == right.member;
}

// The folder that the program was given; what it needs beside it begins with the same name.
inline std::string folder_from(int count, char **arguments) {
    if (count == 2) return arguments[1];
    std::fprintf(stderr, "usage: %s folder\n", arguments[0]);
    std::exit(2);
}

#endif
