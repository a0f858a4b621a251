"""Tables as mappings from ids to records."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Optional

import pytest

import diamonddb

NOON = datetime(2013, 1, 1, 12, tzinfo=timezone.utc)
VALUES = {
    "text": "Zürich", "units": "Zoë!", "raw": b"\0\1\2", "shown": 12.5, "i8": -128, "i16": -(2**15), "i32": -(2**31),
    "i64": -(2**63), "u8": 255, "u16": 2**16 - 1, "u32": 2**32 - 1, "u64": 2**64 - 1, "f32": 0.5, "f64": 0.1,
    "truth": True, "moment": NOON,
}


@dataclass
class Person:
    name: Annotated[str, "string", 15]
    age: Annotated[Optional[float], "number", 3] = None


def test_a_saved_record_is_fetched_as_it_was(people):
    id = people.save({"name": "Abby", "age": 29})
    assert people[id] == people.fetch(id) == {"name": "Abby", "age": 29.0}
    assert people.fetch_tuple(id) == ("Abby", 29.0)
    assert people.fetch_bytes(id) == struct.pack("@15sd", b"Abby", 29)


def test_a_value_of_every_type_comes_back_as_it_was(everything):
    assert everything[everything.save(VALUES)] == VALUES


def test_null_in_any_field_is_none(everything):
    for name in VALUES:
        record = {**VALUES, name: None}
        assert everything[everything.save(record)] == record
    assert set(everything[everything.save({})].values()) == {None}


def test_a_table_is_a_mapping(people):
    ids = people.save_many([{"name": "Abby"}, {"name": "Bob"}, {"name": "Cy"}])
    del people[ids[1]]
    people[ids[2]] = {"name": "Cyrus"}
    assert (len(people), list(people), ids[1] in people, ids[2] in people) == (2, [0, 2], False, True)
    assert [(id, record["name"]) for id, record in people.items()] == [(0, "Abby"), (2, "Cyrus")]
    assert [record["name"] for record in people.values()] == ["Abby", "Cyrus"]
    assert people.get(ids[1]) is None
    assert people.get(99, "nobody") == "nobody"
    assert people.next_id == 3


def test_what_is_no_id_is_in_no_table(people):
    people.save({"name": "Abby"})
    assert [id in people for id in (0, True, -1, 1, 2**64, 2**64 - 1, "0", None)] == [
        True, False, False, False, False, False, False, False]


@pytest.mark.parametrize("id", [-1, 2**64, 7])
def test_an_id_that_was_never_given_is_out_of_range(people, id):
    for verb in (people.fetch, people.fetch_bytes, people.fetch_tuple, people.delete, people.__getitem__):
        with pytest.raises(diamonddb.OutOfRangeError, match=f"(?s)(?=.*people).*{id}"):
            verb(id)
    with pytest.raises(KeyError, match="people"):
        people[id] = {"name": "Abby"}


def test_a_deleted_record_is_not_found(people):
    id = people.save({"name": "Abby"})
    people.delete(id)
    with pytest.raises(diamonddb.NotFoundError, match="people"):
        people[id]


def test_a_record_is_replaced_or_deleted_only_if_it_is_what_was_read(people):
    id = people.save({"name": "Abby", "age": 29})
    before = people[id]
    people.replace(id, {"name": "Abby", "age": 30}, expected=before)
    with pytest.raises(diamonddb.ConflictError, match="people"):
        people.replace(id, {"name": "Abby", "age": 31}, expected=before)
    with pytest.raises(diamonddb.ConflictError, match="people"):
        people.delete(id, expected=before)
    people.delete(id, expected={"name": "Abby", "age": 30})
    assert id not in people


@pytest.mark.parametrize("name, value, expected", [
    ("text", "Z" * 9, "at most 8 bytes"), ("text", "a\0b", "without NUL"), ("text", b"bytes", "a str"),
    ("text", "\ud800", "UTF-8"), ("units", "x" * 13, "at most 4 UTF-16 units"), ("units", "x" * 5, "units"),
    ("raw", b"1234", "exactly 3 bytes"), ("raw", b"", "exactly 3 bytes"), ("raw", 3, "exactly 3 bytes"),
    ("shown", 1.23456, "shown"), ("shown", "1", "a float"), ("f64", float("nan"), "f64"),
    ("i8", 128, "-128 to 127"), ("i64", 2**63, "to 9223372036854775807"), ("u8", -1, "0 to 255"),
    ("u64", 2**64, "0 to 18446744073709551615"), ("u32", 1.5, "an int"), ("truth", "yes", "True or False"),
    ("truth", 2, "True or False"), ("moment", datetime(2013, 1, 1), "time zone"), ("moment", "noon", "a datetime"),
])
def test_a_value_that_does_not_fit_is_refused_by_field_and_table(everything, name, value, expected):
    with pytest.raises(diamonddb.InvalidError, match=expected) as refusal:
        everything.save({**VALUES, name: value})
    assert name in str(refusal.value)
    assert "everything" in str(refusal.value)
    assert len(everything) == 0


def test_a_field_that_the_table_does_not_have_is_refused(people):
    with pytest.raises(diamonddb.InvalidError, match="no field 'nam'; its fields are name, age"):
        people.save({"nam": "Abby"})
    with pytest.raises(diamonddb.InvalidError, match="has 2 fields, not 3"):
        people.save(("Abby", 29, 1))
    with pytest.raises(diamonddb.InvalidError, match="a dict, a dataclass, or a tuple of all its values, not int"):
        people.save(3)


def test_a_required_field_is_not_null(db):
    table = db.table("strict", {"name": ["string", 5, "required"]})
    with pytest.raises(diamonddb.InvalidError, match="name"):
        table.save({})


def test_records_go_in_and_come_out_as_a_dataclass(db):
    people = db.table("people", Person)
    id = people.save(Person("Abby", 29))
    assert people[id] == Person("Abby", 29.0)
    assert people[people.save(Person("Bob"))] == Person("Bob", None)
    assert people[people.save({"name": "Cy"})] == Person("Cy")
    assert list(people.values()) == people.fetch_many(people) == [Person("Abby", 29), Person("Bob"), Person("Cy")]
    assert people.schema == {"name": ["string", 15, "required"], "age": ["number", 3]}


def test_a_table_made_by_a_dict_is_read_as_a_dataclass_with_its_fields(people):
    @dataclass
    class Swapped:
        age: Optional[float]
        name: str

    @dataclass
    class Other:
        name: str
        height: float

    id = people.save({"name": "Abby", "age": 29})
    assert people.typed(Swapped)[id] == Swapped(29.0, "Abby")
    with pytest.raises(diamonddb.InvalidError, match="Other and table people differ in their fields: age, height"):
        people.typed(Other)
    with pytest.raises(diamonddb.InvalidError, match="Other and table people differ"):
        people.save(Other("Abby", 1.7))


def test_a_dataclass_that_does_not_say_how_it_is_stored_is_refused(db):
    @dataclass
    class Vague:
        name: str

    with pytest.raises(diamonddb.InvalidError, match="name of Vague does not say how it is stored"):
        db.table("vague", Vague)
    with pytest.raises(diamonddb.InvalidError, match="int is not a dataclass"):
        db.table("vague", int)


def test_a_timestamp_is_a_datetime_or_as_an_integer_what_no_datetime_can_say(db):
    @dataclass
    class Event:
        at: Annotated[Optional[int], "timestamp"]

    events = db.table("events", Event)
    year_zero = -62_167_219_200_000_000
    id = events.save(Event(year_zero))
    assert events[id] == Event(year_zero)
    with pytest.raises(diamonddb.InvalidError, match="Field at holds -62167219200000000"):
        db.table("events")[id]
    zone = timezone(timedelta(hours=2))
    id = events.save({"at": datetime(2013, 1, 1, 14, tzinfo=zone)})
    assert db.table("events")[id] == {"at": NOON}


def test_packed_records_are_saved_with_their_nulls(people):
    packed = struct.pack("@15sd", b"Abby", 29)
    assert people[people.save_bytes(packed)] == {"name": "Abby", "age": 29}
    assert people[people.save_bytes(bytearray(packed), b"\2")] == {"name": "Abby", "age": None}
    # The bitmap of one save is not that of the next.
    assert people[people.save_bytes(memoryview(packed))] == {"name": "Abby", "age": 29}
    for record, nulls in ((packed[1:], None), (packed + b"1", None), (packed, b""), (packed, b"12")):
        with pytest.raises(diamonddb.InvalidError, match="people has 24 bytes and a null bitmap of 1, not"):
            people.save_bytes(record, nulls)
    with pytest.raises(diamonddb.InvalidError, match="is bytes, not str"):
        people.save_bytes("Abby")


def test_a_layout_is_the_c_struct(people):
    layout = people.layout
    assert (layout.record_size, layout.alignment, layout.nulls_size, layout.names) == (24, 8, 1, ("name", "age"))
    assert (layout.field("age").offset, layout.field("age").type, layout.field("age").width) == (16, "number", 3)
    with pytest.raises(KeyError, match="no field 'height'; the fields are name, age"):
        layout.field("height")


def test_a_closed_table_says_so(people):
    people.save({"name": "Abby"})
    people[0]
    people.close()
    people.close()
    for verb in (lambda: people[0], lambda: people.save({}), lambda: len(people), lambda: list(people), people.pin,
                 lambda: people.fetch_many([0]), lambda: people.name, lambda: people.fetch_bytes(0)):
        with pytest.raises(diamonddb.ClosedError, match="table people was closed"):
            verb()


def test_tables_are_listed_renamed_and_dropped(db, people):
    people.save({"name": "Abby"})
    assert [(table["name"], table["count"]) for table in db.tables()] == [("people", 1)]
    db.rename_table("people", "persons")
    assert people.name == "persons"
    with pytest.raises(diamonddb.NotFoundError, match="people"):
        db.table("people")
    db.drop_table("persons")
    assert db.tables() == []
    with pytest.raises(diamonddb.NotFoundError):
        people[0]


def test_a_table_with_another_schema_is_refused(db, people):
    with pytest.raises(diamonddb.SchemaDiffersError, match="people"):
        db.table("people", {"name": ["string", 16], "age": ["number", 3]})
    with pytest.raises(diamonddb.InvalidError, match="strin"):
        db.table("other", {"name": ["strin", 16]})
