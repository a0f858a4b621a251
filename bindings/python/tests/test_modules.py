"""Stores and caches written in Python."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import diamonddb
from conftest import PEOPLE
from diamonddb import Change, Entry, Stored, modules


class Place:
    """What a store keeps, for the next store over the same data."""

    def __init__(self):
        self.meta = None
        self.tables = {}
        self.highest = {}


class DictStore(diamonddb.Store):
    name = "dict"
    is_atomic = True
    is_immediate = True

    def __init__(self, place):
        self.place = place
        self.calls = []
        self.fail = {}

    def _called(self, method):
        self.calls.append(method)
        if method in self.fail:
            raise self.fail[method]

    def initialize(self):
        self._called("initialize")
        highest = [(table, id, version) for table, (id, version) in self.place.highest.items()]
        return Stored(self.place.meta, highest)

    def make_table(self, table, meta):
        self._called("make_table")
        self.place.tables[table] = {}
        self.place.highest.pop(table, None)

    def update_meta(self, tables):
        self._called("update_meta")
        self.place.meta = tables

    def store(self, changes):
        self._called("store")
        for change in changes:
            if change.table not in self.place.tables:
                raise LookupError(f"there is no table {change.table}")
        for change in changes:
            self._keep(change)

    def _keep(self, change: Change):
        records = self.place.tables[change.table]
        if change.is_deleted:
            records.pop(change.id, None)
        else:
            records[change.id] = change.entry
        id, version = self.place.highest.get(change.table, (0, 0))
        self.place.highest[change.table] = max(id, change.id), max(version, change.entry.version)

    def fetch(self, table, ids):
        self._called("fetch")
        return [self.place.tables[table].get(id) for id in ids]

    def persist_all(self):
        self._called("persist_all")

    def destroy(self):
        self.calls.append("destroy")


class DictCache(diamonddb.Cache):
    name = "dict"

    def __init__(self):
        self.entries = {}
        self.hits = 0
        self.fail = None

    def store(self, change):
        if self.fail:
            raise self.fail
        key = change.table, change.id
        known = self.entries.get(key)
        if known is None or known.version <= change.entry.version:
            self.entries[key] = change.entry._replace(record=b"") if change.is_deleted else change.entry

    def fetch(self, table, id):
        if self.fail:
            raise self.fail
        entry = self.entries.get((table, id))
        if entry is None or not entry.record:
            return None
        self.hits += 1
        return entry

    def clear(self):
        if self.fail:
            raise self.fail
        self.entries.clear()


@pytest.fixture
def store():
    return DictStore(Place())


@pytest.fixture
def foreign(store):
    with diamonddb.open("", store=store) as db:
        yield db


def test_the_contract_suite_passes_over_a_store_in_python():
    place = Place()
    report = diamonddb.check_store(DictStore(place), DictStore(place))
    assert len(report["promises"]) >= 5
    assert all(promise["kept"] for promise in report["promises"])
    assert report["module"] == "dict"


def test_the_contract_suite_passes_over_a_cache_in_python():
    report = diamonddb.check_cache(DictCache())
    assert len(report["promises"]) >= 3
    assert all(promise["kept"] for promise in report["promises"])


def test_the_contract_suite_names_what_a_store_breaks():
    class Forgetful(DictStore):
        def fetch(self, table, ids):
            return [entry and entry._replace(record=bytes(len(entry.record))) for entry in super().fetch(table, ids)]

    with pytest.raises(diamonddb.ModuleError) as broken:
        diamonddb.check_store(Forgetful(Place()))
    assert any(not promise["kept"] for promise in broken.value.report["promises"])

    class Stale(DictCache):
        def store(self, change):
            self.entries.setdefault((change.table, change.id), change.entry)

    with pytest.raises(diamonddb.ModuleError) as broken:
        diamonddb.check_cache(Stale())
    assert any(not promise["kept"] for promise in broken.value.report["promises"])


def test_a_database_lies_in_a_store_in_python(store):
    with diamonddb.open("", store=store) as db:
        people = db.table("people", PEOPLE)
        ids = people.save_many([{"name": "Abby"}, {"name": "Bob", "age": 31}])
        people.delete(ids[0])
        assert [(id, record) for id, record in people.items()] == [(1, {"name": "Bob", "age": 31})]
    assert store.calls[0] == "initialize"
    assert store.calls[-1] == "destroy"
    with diamonddb.open("", store=DictStore(store.place)) as db:
        people = db.table("people")
        assert people[1] == {"name": "Bob", "age": 31}
        assert people.save({"name": "Cy"}) == 2


def test_a_cache_in_python_answers_for_the_store(store):
    cache = DictCache()
    with diamonddb.open("", store=store, cache=cache) as db:
        people = db.table("people", PEOPLE)
        people[people.save({"name": "Abby"})]  # A cache is cleared, and then used, from the first fetch on.
        id = people.save({"name": "Bob"})
        store.calls.clear()
        assert people[id]["name"] == "Bob"
        assert (cache.hits, store.calls) == (1, [])


@pytest.mark.parametrize("error", [OSError("the disk is on fire"), SystemExit(3), KeyboardInterrupt("stop")])
def test_an_exception_in_a_store_becomes_that_calls_error_with_its_text(foreign, store, error):
    people = foreign.table("people", PEOPLE)
    id = people.save({"name": "Abby"})
    store.fail["fetch"] = error
    with pytest.raises(diamonddb.ModuleError, match=f"dict.*{type(error).__name__}: {error}") as failure:
        people[id]
    assert failure.value.__cause__ is error
    store.fail.clear()
    assert people[id]["name"] == "Abby"


def test_a_store_that_does_not_know_says_so(foreign, store):
    people = foreign.table("people", PEOPLE)
    store.fail["store"] = diamonddb.CommitUnknownError("the server did not answer")
    with pytest.raises(diamonddb.CommitUnknownError, match="the server did not answer"):
        people.save({"name": "Abby"})


def test_an_outcome_is_told_of_each_change(store):
    class Picky(DictStore):
        is_atomic = False

        def store(self, changes):
            return [ValueError("no Bobs here") if b"Bob" in change.entry.record else self._keep(change)
                    for change in changes]

    with diamonddb.open("", store=Picky(Place())) as db:
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})
        with pytest.raises(diamonddb.ModuleError, match="no Bobs here"):
            people.save({"name": "Bob"})
        with pytest.raises(diamonddb.UnsupportedError):
            people.save_many([{"name": "Cy"}, {"name": "Dee"}])


def test_a_record_that_cannot_be_looked_for_is_a_failure_and_no_miss(foreign, store, monkeypatch):
    people = foreign.table("people", PEOPLE)
    id = people.save({"name": "Abby"})
    monkeypatch.setattr(store, "fetch", lambda table, ids: [OSError("a bad sector")] * len(ids))
    with pytest.raises(diamonddb.ModuleError, match="a bad sector"):
        people[id]


@pytest.mark.parametrize("answer", [
    [], [None, None], [Entry(1, 2, b"short", b"")], ["no entry"], None, [Entry(-1, "seal", None, 3)],
])
def test_an_answer_that_is_none_is_an_error_and_no_crash(foreign, store, monkeypatch, answer):
    people = foreign.table("people", PEOPLE)
    id = people.save({"name": "Abby"})
    monkeypatch.setattr(store, "fetch", lambda table, ids: answer)
    with pytest.raises(diamonddb.DiamondError):
        people[id]


def test_one_of_many_that_fails_is_the_cause(foreign, store, monkeypatch):
    people = foreign.table("people", PEOPLE)
    ids = people.save_many([{"name": "Abby"}, {"name": "Bob"}])
    bad_sector = OSError("a bad sector")
    monkeypatch.setattr(store, "fetch", lambda table, ids: [None] * (len(ids) - 1) + [bad_sector])
    with pytest.raises(diamonddb.DiamondError) as failure:
        people.fetch_many(reversed(ids))
    monkeypatch.setattr(store, "fetch", lambda table, ids: [bad_sector] * len(ids))
    with pytest.raises(diamonddb.ModuleError) as failure:
        people.fetch_many(ids)
    assert failure.value.__cause__ is bad_sector


def test_what_comes_back_changed_is_corrupt(foreign, store, monkeypatch):
    people = foreign.table("people", PEOPLE)
    first, second = people.save_many([{"name": "Abby"}, {"name": "Bob"}])
    entries = next(iter(store.place.tables.values()))
    entries[first], entries[second] = entries[second], entries[first]
    with pytest.raises(diamonddb.CorruptError):
        people[first]


def test_a_cache_that_fails_is_bypassed(store):
    cache = DictCache()
    with diamonddb.open("", store=store, cache=cache) as db:
        people = db.table("people", PEOPLE)
        cache.fail = OSError("gone")
        id = people.save({"name": "Abby"})
        assert people[id]["name"] == "Abby"
        cache.fail = None
        assert people[id]["name"] == "Abby"
        # What a bypassed cache raised is not the cause of what comes later.
        store.fail["fetch"] = KeyError("elsewhere")
        cache.entries.clear()
        with pytest.raises(diamonddb.ModuleError) as failure:
            people[id]
        assert isinstance(failure.value.__cause__, KeyError)


def test_a_module_works_on_its_own_thread_only(foreign):
    people = foreign.table("people", PEOPLE)
    id = people.save({"name": "Abby"})
    seen = []

    def elsewhere():
        for verb in (lambda: people[id], lambda: people.save({"name": "Bob"}), foreign.close):
            try:
                verb()
            except diamonddb.WrongThreadError as error:
                seen.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(seen) == 3
    assert people[id]["name"] == "Abby"


def test_a_module_that_calls_its_database_is_refused(foreign, store, monkeypatch):
    people = foreign.table("people", PEOPLE)
    id = people.save({"name": "Abby"})
    monkeypatch.setattr(store, "fetch", lambda table, ids: [people[id]])
    with pytest.raises(diamonddb.ModuleError, match="MisuseError"):
        people[id]


def test_a_module_is_kept_until_it_is_destroyed_and_then_let_go():
    place, lent = Place(), len(modules._lent)
    store = DictStore(place)
    seen = weakref.ref(store)
    db = diamonddb.open("", store=store)
    del store
    gc.collect()
    people = db.table("people", PEOPLE)
    assert people[people.save({"name": "Abby"})]["name"] == "Abby"
    db.close()
    del db, people
    gc.collect()
    assert seen() is None
    assert len(modules._lent) == lent


def test_a_module_is_let_go_where_the_opening_fails():
    store = DictStore(Place())
    lent = len(modules._lent)
    store.fail["initialize"] = OSError("nothing here")
    with pytest.raises(diamonddb.ModuleError, match="nothing here"):
        diamonddb.open("", store=store)
    assert store.calls[-1] == "destroy"
    other = DictStore(Place())
    with pytest.raises(diamonddb.DiamondError):
        diamonddb.open("", store=other, in_memory=True)
    assert len(modules._lent) == lent


def test_what_is_no_module_is_refused_by_what_is_missing():
    with pytest.raises(diamonddb.InvalidError, match="The store dict has no method initialize, make_table"):
        diamonddb.open("", store={})
    with pytest.raises(diamonddb.InvalidError, match="The cache object has no method store, fetch, clear"):
        diamonddb.open("", cache=object())


def test_a_module_on_the_interval_persists_when_stepped(store):
    with diamonddb.open("", store=store, durability="async", interval_ms=1) as db:
        db.table("people", PEOPLE).save({"name": "Abby"})
        store.calls.clear()
        db.flush()
        assert "persist_all" in store.calls
        db.step()
