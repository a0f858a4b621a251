"""Stores and caches written in Python: where the records of a database lie, and what remembers some of them nearer by.

Derive from `Store` or `Cache` and give an instance to `diamonddb.open`. The promises that a module makes are in the
docs of the two; `check_store` and `check_cache` try whether one keeps them.

A module is called only on the thread that opened the database, and so the database works only there: calls on other
threads are WrongThreadError, and `durability="async"` persists when `Database.step` is called. It must not use the
database that is calling it. An exception in it becomes that call's ModuleError, with its text, and is its __cause__.
"""

from __future__ import annotations

import itertools
import json
from ctypes import byref, c_size_t, c_void_p, sizeof, string_at
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import _native as native
from ._handle import taken
from .errors import CommitUnknownError, InvalidError, ModuleError, failure, raised


class Entry(NamedTuple):
    """A record as a module keeps it: all of it comes back as it was."""

    version: int
    """Grows with every change of the record."""
    seal: int
    """The database's own."""
    record: bytes
    nulls: bytes


class Change(NamedTuple):
    """A change of the record `id` of a table, which has a number. `entry.record` is empty where it was deleted."""

    table: int
    id: int
    is_deleted: bool
    entry: Entry


class Stored(NamedTuple):
    """What a store finds when it begins."""

    meta: Optional[str] = None
    """The text of the last update_meta that was persisted; None: there was none."""
    highest: Sequence[Tuple[int, int, int]] = ()
    """(table, id, version): of each table the highest id and version ever stored, together or apart."""


Outcome = Optional[BaseException]
"""None: done. An exception: not done; a CommitUnknownError: it may have been done."""


class Store:
    """A store. Tables have numbers; whoever keeps entries by number and id needs nothing else of them.

    It promises: (1) It keeps what it is given, record, nulls, version and seal, byte for byte. (2) After persist_all
    everything that it accepted before is there for every later opening. (3) initialize gives the text of the last
    update_meta that was persisted, and of each table the highest id and version that were ever stored, deleted ones
    among them. (4) A table that is made begins empty, whatever was under its number; one that update_meta leaves out
    was dropped. (5) It never answers for one record with another, and a record that is not there is None and no
    failure. (6) What it cannot do raises; where it does not know, it raises CommitUnknownError.
    """

    name: str = ""
    """What messages call it; empty: the name of its class."""
    is_atomic: bool = False
    """It does all changes of a call or none. Without it a commit of more than one change is UnsupportedError."""
    is_immediate: bool = False
    """It finds what it has accepted at once. Without it the database remembers all that was not persisted yet."""

    def initialize(self) -> Stored:
        """The first call: what is there."""
        raise NotImplementedError

    def make_table(self, table: int, meta: str) -> None:
        """A table begins. meta is JSON: {"table": 1, "name": "people", "next_id": 0, "record_size": 40, ...}."""
        raise NotImplementedError

    def update_meta(self, tables: str) -> None:
        """What is to be known of all tables, as JSON text. Only the newest counts."""
        raise NotImplementedError

    def store(self, changes: List[Change]) -> Optional[Sequence[Outcome]]:
        """Keeps or queues changes, each of another record. None: all are done; else an outcome for each."""
        raise NotImplementedError

    def fetch(self, table: int, ids: List[int]) -> Sequence[Union[Entry, None, BaseException]]:
        """For each id its entry, None where there is none, or an exception where it could not be looked for."""
        raise NotImplementedError

    def persist_all(self) -> None:
        """Makes everything durable that was accepted before."""
        raise NotImplementedError

    def destroy(self) -> None:
        """The last call."""


class Cache:
    """A cache.

    It promises: (1) What it has of a record is the newest change that it was told; a change of a lower version than
    what it has is ignored, and a deleted record is a miss. (2) It may forget whatever it likes, but never answers for
    one record with another. (3) After clear it has nothing. It is never the truth: where it raises it is bypassed, and
    counted in Database.stats, and it is cleared before it is asked again.
    """

    name: str = ""
    """What messages call it; empty: the name of its class."""

    def store(self, change: Change) -> None:
        """A record was saved, fetched or deleted."""
        raise NotImplementedError

    def fetch(self, table: int, id: int) -> Optional[Entry]:
        """The entry of a record; None: a miss."""
        raise NotImplementedError

    def clear(self) -> None:
        """Forgets everything."""
        raise NotImplementedError

    def destroy(self) -> None:
        """The last call."""


def check_store(store: Store, again: Optional[Store] = None) -> Dict[str, Any]:
    """Tries a store for a new, empty place, and destroys it. `again` is another over the same data.

    The report: {"module": "...", "promises": [{"promise": "...", "kept": True, "broken": None}, ...]}.
    ModuleError: a promise is broken; the report is in its `report`.
    """
    lent = [lend_store(module) for module in (store, again) if module is not None]
    first, second = byref(lent[0]), byref(lent[1]) if len(lent) > 1 else None
    return _checked(lent, lambda text, size: native.diamond_check_store_module(first, second, text, size))


def check_cache(cache: Cache) -> Dict[str, Any]:
    """Tries a cache, and destroys it. Report and errors as check_store."""
    lent = [lend_cache(cache)]
    return _checked(lent, lambda text, size: native.diamond_check_cache_module(byref(lent[0]), text, size))


def _checked(lent: Sequence[Any], check_module: Callable[[Any, Any], int]) -> Dict[str, Any]:
    text, size = c_void_p(), c_size_t()
    status = check_module(byref(text), byref(size))
    error = failure(status) if status else None
    take_back(lent)
    report: Dict[str, Any] = json.loads(taken(text, size)) if text.value else {}
    if error is not None:
        if isinstance(error, ModuleError):
            error.report = report
        raise error
    return report


# What C calls is made once and never goes away. Its context is a number, under which a module is found here from when
# it is lent until it is destroyed.

_lent: Dict[int, Any] = {}
_numbers = itertools.count(1)

Reply = Optional[int]


def lend_store(store: Store) -> native.diamond_store_module:
    """A store as the library takes it."""
    _require(store, "store", ("initialize", "make_table", "update_meta", "store", "fetch", "persist_all"))
    flags = native.DIAMOND_MODULE_OPENING_THREAD | native.DIAMOND_MODULE_ONE_AT_A_TIME
    flags |= native.DIAMOND_MODULE_ATOMIC if getattr(store, "is_atomic", False) else 0
    flags |= native.DIAMOND_MODULE_IMMEDIATE if getattr(store, "is_immediate", False) else 0
    return native.diamond_store_module(
        struct_size=sizeof(native.diamond_store_module), flags=flags, context=_number(store), name=_name(store),
        **_STORE_FUNCTIONS,
    )


def lend_cache(cache: Cache) -> native.diamond_cache_module:
    """A cache as the library takes it."""
    _require(cache, "cache", ("store", "fetch", "clear"))
    flags = native.DIAMOND_MODULE_OPENING_THREAD | native.DIAMOND_MODULE_ONE_AT_A_TIME
    return native.diamond_cache_module(
        struct_size=sizeof(native.diamond_cache_module), flags=flags, context=_number(cache), name=_name(cache),
        **_CACHE_FUNCTIONS,
    )


def take_back(lent: Sequence[Any]) -> None:
    """Forgets modules that the library did not take; those that it took it has destroyed by now."""
    for module in lent:
        _lent.pop(module.context, None)


def _require(module: Any, kind: str, methods: Sequence[str]) -> None:
    missing = [method for method in methods if not callable(getattr(module, method, None))]
    if missing:
        raise InvalidError(f"The {kind} {type(module).__name__} has no method {', '.join(missing)}.")


def _number(module: Any) -> int:
    number = next(_numbers)
    _lent[number] = module
    return number


def _name(module: Any) -> bytes:
    return (getattr(module, "name", "") or type(module).__name__).encode()


def _told(method: Callable[..., Optional[int]]) -> Callable[..., int]:
    """Around every method: what it raises is told to the library, never thrown into it. The reply comes last."""

    def call(number: int, *arguments: Any) -> int:
        try:
            answer = method(_lent[number], *arguments)
            return native.DIAMOND_MODULE_OK if answer is None else answer
        except BaseException as error:
            return _tell(arguments[-1], error)

    return call


def _tell(reply: Reply, error: BaseException) -> int:
    text = f"{type(error).__name__}: {error}"[:1000]
    raised.exception, raised.text = error, text
    encoded = text.encode("utf-8", "replace")
    native.diamond_reply_error(reply, encoded, len(encoded))
    return native.DIAMOND_MODULE_AMBIGUOUS if isinstance(error, CommitUnknownError) else 0


def _tell_of_one(module: Store, error: BaseException, count: int) -> int:
    """What an item says of a failure; one that is alone is the failure of the call, since items have no text."""
    if count == 1:
        raise error
    raised.exception, raised.text = error, _name(module).decode()
    return native.DIAMOND_MODULE_AMBIGUOUS if isinstance(error, CommitUnknownError) else 0


def _answered(status: int) -> None:
    """The library refuses an answer: its sentence becomes the failure."""
    if status:
        raise failure(status)


def _initialize(store: Store, reply: Reply) -> None:
    stored = store.initialize()
    if stored.meta is not None:
        text = stored.meta.encode()
        _answered(native.diamond_reply_meta(reply, text, len(text)))
    for table, id, version in stored.highest:
        _answered(native.diamond_reply_stored(reply, table, id, version))


def _make_table(store: Store, table: int, meta: int, size: int, reply: Reply) -> None:
    store.make_table(table, string_at(meta, size).decode())


def _update_meta(store: Store, tables: int, size: int, reply: Reply) -> None:
    store.update_meta(string_at(tables, size).decode())


def _store(store: Store, changes: Any, count: int, items: Any, reply: Reply) -> None:
    outcomes = store.store([_change(changes[index]) for index in range(count)])
    if outcomes is None:
        return
    if len(outcomes) != count:
        raise ValueError(f"store was given {count} changes and gave {len(outcomes)} outcomes")
    for index, outcome in enumerate(outcomes):
        if outcome is not None:
            items[index] = _tell_of_one(store, outcome, count)


def _fetch(store: Store, table: int, ids: Any, count: int, items: Any, reply: Reply) -> None:
    answers = store.fetch(table, ids[:count])
    if len(answers) != count:
        raise ValueError(f"fetch was given {count} ids and gave {len(answers)} answers")
    for index, answer in enumerate(answers):
        if isinstance(answer, BaseException):
            items[index] = _tell_of_one(store, answer, count)
        elif answer is not None:
            _reply_record(reply, index, answer)


def _persist_all(store: Store, reply: Reply) -> None:
    store.persist_all()


def _cache_store(cache: Cache, change: Any, reply: Reply) -> None:
    cache.store(_change(change.contents))


def _cache_fetch(cache: Cache, table: int, id: int, reply: Reply) -> Optional[int]:
    entry = cache.fetch(table, id)
    if entry is None:
        return native.DIAMOND_MODULE_MISS
    _reply_record(reply, 0, entry)
    return None


def _cache_clear(cache: Cache, reply: Reply) -> None:
    cache.clear()


def _destroy(number: int) -> None:
    # What it raises nobody waits for: ctypes reports it as Python does for a __del__.
    destroy = getattr(_lent.pop(number), "destroy", None)
    if destroy is not None:
        destroy()


def _change(change: Any) -> Change:
    stamp = change.stamp
    record = string_at(change.record, change.record_size) if change.record else b""
    nulls = string_at(change.nulls, change.nulls_size) if change.nulls else b""
    is_deleted = change.kind == native.DIAMOND_CHANGE_DELETE
    return Change(change.table, change.id, is_deleted, Entry(stamp.version, stamp.seal, record, nulls))


def _reply_record(reply: Reply, index: int, entry: Entry) -> None:
    version, seal, record, nulls = entry
    stamp = native.diamond_stamp(version, seal)
    _answered(native.diamond_reply_record(reply, index, byref(stamp), record, len(record), nulls, len(nulls)))


_destroy_function = native.module_destroy(_destroy)
_STORE_FUNCTIONS: Dict[str, Any] = {
    "initialize": native.store_initialize(_told(_initialize)),
    "make_table": native.store_make_table(_told(_make_table)),
    "update_meta": native.store_update_meta(_told(_update_meta)),
    "store": native.store_store(_told(_store)),
    "fetch": native.store_fetch(_told(_fetch)),
    "persist_all": native.store_persist_all(_told(_persist_all)),
    "destroy": _destroy_function,
}
_CACHE_FUNCTIONS: Dict[str, Any] = {
    "store": native.cache_store(_told(_cache_store)),
    "fetch": native.cache_fetch(_told(_cache_fetch)),
    "clear": native.cache_clear(_told(_cache_clear)),
    "destroy": _destroy_function,
}
