"""include/diamonddb.h, line by line and nothing else: constants, structs, functions, under their C names.

The header is the manual. tests/test_mirror.py compares all of this with the header as the C compiler sees it.
Handles are c_void_p. Texts that go in are c_char_p, with their size beside them; bytes are c_void_p.
"""

from __future__ import annotations

from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

from ._library import load_library

library = load_library()


def _declare(name: str, *arguments: Any, result: Any = c_int32) -> Any:
    function = library[name]
    function.argtypes, function.restype = arguments, result
    return function


# Statuses, messages, versions

DIAMOND_ABI_VERSION = 1

DIAMOND_STATUS_OK = 0
DIAMOND_STATUS_MISUSE = 100
DIAMOND_STATUS_CLOSED = 101
DIAMOND_STATUS_FORKED = 102
DIAMOND_STATUS_WRONG_THREAD = 103
DIAMOND_STATUS_INVALID = 104
DIAMOND_STATUS_UNSUPPORTED = 105
DIAMOND_STATUS_TOO_LARGE = 106
DIAMOND_STATUS_NOT_FOUND = 200
DIAMOND_STATUS_OUT_OF_RANGE = 201
DIAMOND_STATUS_SCHEMA_DIFFERS = 202
DIAMOND_STATUS_CONFLICT = 203
DIAMOND_STATUS_END = 204
DIAMOND_STATUS_BUSY = 300
DIAMOND_STATUS_LOCKED = 301
DIAMOND_STATUS_FULL = 302
DIAMOND_STATUS_UNAVAILABLE = 303
DIAMOND_STATUS_TIMEOUT = 304
DIAMOND_STATUS_CANCELLED = 305
DIAMOND_STATUS_COMMIT_UNKNOWN = 400
DIAMOND_STATUS_IO = 500
DIAMOND_STATUS_CORRUPT = 501
DIAMOND_STATUS_POISONED = 502
DIAMOND_STATUS_FORMAT = 503
DIAMOND_STATUS_NO_MEMORY = 600
DIAMOND_STATUS_PANIC = 601
DIAMOND_STATUS_MODULE = 602

diamond_status = c_int32

diamond_error_message = _declare("diamond_error_message", result=c_char_p)
diamond_free = _declare("diamond_free", c_void_p, result=None)
diamond_version = _declare("diamond_version", result=c_char_p)
diamond_abi_version = _declare("diamond_abi_version")


# Module

DIAMOND_MODULE_OK = 20299
DIAMOND_MODULE_MISS = 19785
DIAMOND_MODULE_AMBIGUOUS = 16725

DIAMOND_MODULE_OPENING_THREAD = 1
DIAMOND_MODULE_ONE_AT_A_TIME = 2
DIAMOND_MODULE_ATOMIC = 4
DIAMOND_MODULE_IMMEDIATE = 8

DIAMOND_CHANGE_STORE = 0
DIAMOND_CHANGE_DELETE = 1

diamond_reply = c_void_p


class diamond_stamp(Structure):
    _fields_ = [("version", c_uint64), ("seal", c_uint64)]


class diamond_change(Structure):
    _fields_ = [
        ("table", c_uint32),
        ("kind", c_int32),
        ("id", c_uint64),
        ("stamp", diamond_stamp),
        ("record", c_void_p),
        ("record_size", c_size_t),
        ("nulls", c_void_p),
        ("nulls_size", c_size_t),
        ("reserved", c_uint64 * 2),
    ]


store_initialize = CFUNCTYPE(c_int32, c_void_p, diamond_reply)
store_make_table = CFUNCTYPE(c_int32, c_void_p, c_uint32, c_void_p, c_size_t, diamond_reply)
store_update_meta = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t, diamond_reply)
store_store = CFUNCTYPE(c_int32, c_void_p, POINTER(diamond_change), c_size_t, POINTER(c_int32), diamond_reply)
store_fetch = CFUNCTYPE(
    c_int32, c_void_p, c_uint32, POINTER(c_uint64), c_size_t, POINTER(c_int32), diamond_reply
)
store_persist_all = CFUNCTYPE(c_int32, c_void_p, diamond_reply)
module_destroy = CFUNCTYPE(None, c_void_p)


class diamond_store_module(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("flags", c_uint64),
        ("context", c_void_p),
        ("name", c_char_p),
        ("initialize", store_initialize),
        ("make_table", store_make_table),
        ("update_meta", store_update_meta),
        ("store", store_store),
        ("fetch", store_fetch),
        ("persist_all", store_persist_all),
        ("destroy", module_destroy),
        ("logs", c_void_p),
        ("documents", c_void_p),
    ]


cache_store = CFUNCTYPE(c_int32, c_void_p, POINTER(diamond_change), diamond_reply)
cache_fetch = CFUNCTYPE(c_int32, c_void_p, c_uint32, c_uint64, diamond_reply)
cache_clear = CFUNCTYPE(c_int32, c_void_p, diamond_reply)


class diamond_cache_module(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("flags", c_uint64),
        ("context", c_void_p),
        ("name", c_char_p),
        ("store", cache_store),
        ("fetch", cache_fetch),
        ("clear", cache_clear),
        ("destroy", module_destroy),
    ]


diamond_reply_error = _declare("diamond_reply_error", diamond_reply, c_char_p, c_size_t)
diamond_reply_meta = _declare("diamond_reply_meta", diamond_reply, c_char_p, c_size_t)
diamond_reply_stored = _declare("diamond_reply_stored", diamond_reply, c_uint32, c_uint64, c_uint64)
diamond_reply_record = _declare(
    "diamond_reply_record",
    diamond_reply, c_size_t, POINTER(diamond_stamp), c_void_p, c_size_t, c_void_p, c_size_t,
)
diamond_check_store_module = _declare(
    "diamond_check_store_module",
    POINTER(diamond_store_module), POINTER(diamond_store_module), POINTER(c_void_p), POINTER(c_size_t),
)
diamond_check_cache_module = _declare(
    "diamond_check_cache_module", POINTER(diamond_cache_module), POINTER(c_void_p), POINTER(c_size_t)
)


# Database

DIAMOND_DURABILITY_SYNC = 0
DIAMOND_DURABILITY_OS = 1
DIAMOND_DURABILITY_ASYNC = 2

DIAMOND_OPEN_MUST_EXIST = 1
DIAMOND_OPEN_READ_ONLY = 2
DIAMOND_OPEN_NO_THREADS = 4
DIAMOND_OPEN_FORCE_NETWORK = 8
DIAMOND_OPEN_READ_WITH_PREAD = 16
DIAMOND_OPEN_IN_MEMORY = 32

diamond_db = c_void_p


class diamond_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("flags", c_uint64),
        ("durability", c_int32),
        ("interval_ms", c_uint32),
        ("dirty_soft", c_uint64),
        ("dirty_hard", c_uint64),
        ("store", POINTER(diamond_store_module)),
        ("cache", POINTER(diamond_cache_module)),
        ("error", c_void_p),
        ("error_size", c_size_t),
        ("cache_bytes", c_uint64),
    ]


backup_progress = CFUNCTYPE(c_int32, c_void_p, c_uint64, c_uint64)


class diamond_backup_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("flags", c_uint64),
        ("progress", backup_progress),
        ("context", c_void_p),
        ("error", c_void_p),
        ("error_size", c_size_t),
    ]


diamond_open = _declare("diamond_open", c_char_p, c_size_t, POINTER(diamond_options), POINTER(diamond_db))
diamond_close = _declare("diamond_close", diamond_db)
diamond_flush = _declare("diamond_flush", diamond_db)
diamond_checkpoint = _declare("diamond_checkpoint", diamond_db)
diamond_step = _declare("diamond_step", diamond_db, c_uint32, POINTER(c_int32))
diamond_wait_durable = _declare("diamond_wait_durable", diamond_db, c_uint64, c_uint32, c_void_p, c_size_t)
diamond_verify = _declare("diamond_verify", diamond_db, POINTER(c_void_p), POINTER(c_size_t))
diamond_backup = _declare("diamond_backup", diamond_db, c_char_p, c_size_t, POINTER(diamond_backup_options))
diamond_stats = _declare("diamond_stats", diamond_db, POINTER(c_void_p), POINTER(c_size_t))


# Table

DIAMOND_JSON_INT64_AS_TEXT = 1

diamond_table = c_void_p


class diamond_records(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("records", c_void_p),
        ("record_stride", c_size_t),
        ("nulls", c_void_p),
        ("null_stride", c_size_t),
    ]


class diamond_save_request(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("table", diamond_table),
        ("record", c_void_p),
        ("record_size", c_size_t),
        ("nulls", c_void_p),
        ("id", c_uint64),
        ("error", c_void_p),
        ("error_size", c_size_t),
    ]


class diamond_fetch_request(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("table", diamond_table),
        ("id", c_uint64),
        ("record", c_void_p),
        ("record_size", c_size_t),
        ("nulls", c_void_p),
        ("error", c_void_p),
        ("error_size", c_size_t),
    ]


diamond_table_make = _declare(
    "diamond_table_make", diamond_db, c_char_p, c_size_t, c_char_p, c_size_t, POINTER(diamond_table)
)
diamond_table_open = _declare("diamond_table_open", diamond_db, c_char_p, c_size_t, POINTER(diamond_table))
diamond_table_close = _declare("diamond_table_close", diamond_table)
diamond_table_drop = _declare("diamond_table_drop", diamond_db, c_char_p, c_size_t)
diamond_table_rename = _declare("diamond_table_rename", diamond_db, c_char_p, c_size_t, c_char_p, c_size_t)
diamond_table_list = _declare("diamond_table_list", diamond_db, POINTER(c_void_p), POINTER(c_size_t))
diamond_table_name = _declare("diamond_table_name", diamond_table, POINTER(c_void_p), POINTER(c_size_t))
diamond_table_schema = _declare("diamond_table_schema", diamond_table, POINTER(c_void_p), POINTER(c_size_t))
diamond_table_layout = _declare("diamond_table_layout", diamond_table, POINTER(c_void_p), POINTER(c_size_t))
diamond_table_count = _declare("diamond_table_count", diamond_table, POINTER(c_uint64))
diamond_table_next_id = _declare("diamond_table_next_id", diamond_table, POINTER(c_uint64))
diamond_table_save = _declare(
    "diamond_table_save", diamond_table, c_void_p, c_size_t, c_void_p, POINTER(c_uint64)
)
diamond_table_fetch = _declare("diamond_table_fetch", diamond_table, c_uint64, c_void_p, c_size_t, c_void_p)
diamond_table_replace = _declare("diamond_table_replace", diamond_table, c_uint64, c_void_p, c_size_t, c_void_p)
diamond_table_replace_if = _declare(
    "diamond_table_replace_if",
    diamond_table, c_uint64, c_void_p, c_size_t, c_void_p, c_void_p, c_size_t, c_void_p,
)
diamond_table_delete = _declare("diamond_table_delete", diamond_table, c_uint64)
diamond_table_delete_if = _declare(
    "diamond_table_delete_if", diamond_table, c_uint64, c_void_p, c_size_t, c_void_p
)
diamond_table_save_many = _declare(
    "diamond_table_save_many", diamond_table, POINTER(diamond_records), c_size_t, POINTER(c_uint64)
)
diamond_table_fetch_many = _declare(
    "diamond_table_fetch_many",
    diamond_table, c_void_p, c_size_t, POINTER(diamond_records), POINTER(diamond_status),
)
diamond_table_replace_many = _declare(
    "diamond_table_replace_many", diamond_table, c_void_p, c_size_t, POINTER(diamond_records)
)
diamond_table_delete_many = _declare("diamond_table_delete_many", diamond_table, c_void_p, c_size_t)
diamond_table_save_json = _declare(
    "diamond_table_save_json", diamond_table, c_char_p, c_size_t, POINTER(c_uint64)
)
diamond_table_save_many_json = _declare(
    "diamond_table_save_many_json", diamond_table, c_char_p, c_size_t, POINTER(c_uint64), POINTER(c_size_t)
)
diamond_table_fetch_json = _declare(
    "diamond_table_fetch_json", diamond_table, c_uint64, c_uint32, POINTER(c_void_p), POINTER(c_size_t)
)
diamond_table_fetch_many_json = _declare(
    "diamond_table_fetch_many_json",
    diamond_table, c_void_p, c_size_t, c_uint32, POINTER(c_void_p), POINTER(c_size_t), POINTER(diamond_status),
)
diamond_table_replace_json = _declare(
    "diamond_table_replace_json", diamond_table, c_uint64, c_char_p, c_size_t
)
diamond_table_replace_if_json = _declare(
    "diamond_table_replace_if_json", diamond_table, c_uint64, c_char_p, c_size_t, c_char_p, c_size_t
)
diamond_table_replace_many_json = _declare(
    "diamond_table_replace_many_json", diamond_table, c_void_p, c_size_t, c_char_p, c_size_t
)
diamond_table_save_by = _declare("diamond_table_save_by", POINTER(diamond_save_request))
diamond_table_fetch_by = _declare("diamond_table_fetch_by", POINTER(diamond_fetch_request))


# Batch

DIAMOND_COMMIT_NO_WAIT = 1

diamond_batch = c_void_p

diamond_batch_open = _declare("diamond_batch_open", diamond_db, POINTER(diamond_batch))
diamond_batch_save = _declare(
    "diamond_batch_save", diamond_batch, diamond_table, c_void_p, c_size_t, c_void_p
)
diamond_batch_save_json = _declare(
    "diamond_batch_save_json", diamond_batch, diamond_table, c_char_p, c_size_t
)
diamond_batch_replace = _declare(
    "diamond_batch_replace", diamond_batch, diamond_table, c_uint64, c_void_p, c_size_t, c_void_p
)
diamond_batch_replace_json = _declare(
    "diamond_batch_replace_json", diamond_batch, diamond_table, c_uint64, c_char_p, c_size_t
)
diamond_batch_delete = _declare("diamond_batch_delete", diamond_batch, diamond_table, c_uint64)
diamond_batch_expect = _declare(
    "diamond_batch_expect", diamond_batch, diamond_table, c_uint64, c_void_p, c_size_t, c_void_p
)
diamond_batch_expect_json = _declare(
    "diamond_batch_expect_json", diamond_batch, diamond_table, c_uint64, c_char_p, c_size_t
)
diamond_batch_commit = _declare(
    "diamond_batch_commit", diamond_batch, c_uint32, c_void_p, c_size_t, POINTER(c_uint64)
)
diamond_batch_close = _declare("diamond_batch_close", diamond_batch)


# Cursor

DIAMOND_SCAN_REVERSE = 1

diamond_cursor = c_void_p


class diamond_scan_options(Structure):
    _fields_ = [("struct_size", c_size_t), ("flags", c_uint64), ("first_id", c_uint64), ("end_id", c_uint64)]


diamond_table_scan = _declare(
    "diamond_table_scan", diamond_table, POINTER(diamond_scan_options), POINTER(diamond_cursor)
)
diamond_cursor_next = _declare(
    "diamond_cursor_next", diamond_cursor, POINTER(c_uint64), c_void_p, c_size_t, c_void_p
)
diamond_cursor_next_many = _declare(
    "diamond_cursor_next_many", diamond_cursor, c_void_p, c_size_t, POINTER(diamond_records), POINTER(c_size_t)
)
diamond_cursor_next_json = _declare(
    "diamond_cursor_next_json",
    diamond_cursor, c_uint32, POINTER(c_uint64), POINTER(c_void_p), POINTER(c_size_t),
)
diamond_cursor_close = _declare("diamond_cursor_close", diamond_cursor)


# Snapshot

diamond_snapshot = c_void_p

diamond_snapshot_open = _declare("diamond_snapshot_open", diamond_db, POINTER(diamond_snapshot))
diamond_snapshot_table = _declare(
    "diamond_snapshot_table", diamond_snapshot, c_char_p, c_size_t, POINTER(diamond_table)
)
diamond_snapshot_close = _declare("diamond_snapshot_close", diamond_snapshot)


# Pin

diamond_pin = c_void_p


class diamond_slots(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("base", c_void_p),
        ("stride", c_size_t),
        ("record_size", c_size_t),
        ("state_offset", c_size_t),
        ("nulls_offset", c_size_t),
        ("count", c_uint64),
    ]


diamond_pin_open = _declare("diamond_pin_open", diamond_table, POINTER(diamond_slots), POINTER(diamond_pin))
diamond_pin_close = _declare("diamond_pin_close", diamond_pin)
