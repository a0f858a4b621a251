/* What the test programs share: a check that says where it failed and what the library says, and one table. */
#ifndef CHECK_H
#define CHECK_H

#include <diamonddb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                   \
    do {                                                                                                   \
        if (!(condition)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n    %s\n", __FILE__, __LINE__, #condition, diamond_error_message()); \
            exit(1);                                                                                       \
        }                                                                                                  \
    } while (0)

#define OK(call) CHECK((call) == DIAMOND_STATUS_OK)

/* A failure that the program wants, and it comes with a sentence that holds `part`. */
#define FAILS(status, part, call)                                  \
    do {                                                           \
        CHECK((call) == (status));                                 \
        CHECK(strstr(diamond_error_message(), (part)) != NULL);    \
    } while (0)

/* Pointer and size of a text, as two arguments. */
#define TEXT(text) (text), strlen(text)

/* A record of the table "people": the struct, and the schema that says the same. */
typedef struct person {
    char name[15];
    double age;
    int64_t seen;
    uint8_t member;
} person;

#define PEOPLE "{\"name\": [\"string\", 15, \"required\"], \"age\": [\"number\", 3], " \
               "\"seen\": [\"timestamp\"], \"member\": [\"bool\"]}"

/* The bits of a person's null bitmap. */
enum { NAME_NULL = 1, AGE_NULL = 2, SEEN_NULL = 4, MEMBER_NULL = 8 };

static inline person person_of(const char *name, double age) {
    person it;
    memset(&it, 0, sizeof it); /* The padding too, so that two can be compared by memcmp. */
    memcpy(it.name, name, strlen(name) < sizeof it.name ? strlen(name) : sizeof it.name);
    it.age = age;
    it.seen = 1700000000000000;
    it.member = 1;
    return it;
}

static inline int person_is(const person *it, const person *expected) { return memcmp(it, expected, sizeof *it) == 0; }

/* Opens the database in the folder that the program was given. */
static inline diamond_db *open_folder(int argc, char **argv) {
    diamond_db *db = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: %s folder\n", argv[0]);
        exit(2);
    }
    OK(diamond_open(TEXT(argv[1]), NULL, &db));
    return db;
}

static inline diamond_table *people_of(diamond_db *db) {
    diamond_table *people = NULL;
    OK(diamond_table_make(db, TEXT("people"), TEXT(PEOPLE), &people));
    return people;
}

#endif
