"""First calls from Python, by ctypes alone: DIAMOND_LIB=.../libdiamonddb.so python3 smoke.py folder"""

import ctypes
import json
import os
import struct
import sys
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

lib = ctypes.CDLL(os.environ["DIAMOND_LIB"])


class FetchRequest(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("table", c_void_p), ("id", c_uint64), ("record", c_void_p),
                ("record_size", c_size_t), ("nulls", c_void_p), ("error", c_void_p), ("error_size", c_size_t)]


def declare(name, *arguments, result=c_int32):
    function = getattr(lib, name)
    function.argtypes, function.restype = arguments, result
    return function


abi_version = declare("diamond_abi_version")
error_message = declare("diamond_error_message", result=c_char_p)
free = declare("diamond_free", c_void_p, result=None)
open_db = declare("diamond_open", c_char_p, c_size_t, c_void_p, POINTER(c_void_p))
close = declare("diamond_close", c_void_p)
make = declare("diamond_table_make", c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, POINTER(c_void_p))
close_table = declare("diamond_table_close", c_void_p)
save = declare("diamond_table_save", c_void_p, c_char_p, c_size_t, c_char_p, POINTER(c_uint64))
fetch = declare("diamond_table_fetch", c_void_p, c_uint64, c_void_p, c_size_t, c_void_p)
fetch_by = declare("diamond_table_fetch_by", POINTER(FetchRequest))
fetch_json = declare("diamond_table_fetch_json", c_void_p, c_uint64, c_uint32, POINTER(c_void_p), POINTER(c_size_t))


def ok(status):
    if status != 0:
        raise RuntimeError(f"{status}: {error_message().decode()}")


def main(folder):
    assert abi_version() == 1, "this program was written for another interface"
    db, people, number, text, size = c_void_p(), c_void_p(), c_uint64(), c_void_p(), c_size_t()
    path, schema = os.fsencode(folder), b'{"name": ["string", 15], "age": ["number", 3]}'
    ok(open_db(path, len(path), None, byref(db)))
    ok(make(db, b"people", 6, schema, len(schema), byref(people)))

    person = struct.Struct("@15sd")  # Native alignment is the layout.
    abby = person.pack(b"Abby", 29)
    ok(save(people, abby, len(abby), None, byref(number)))
    found = ctypes.create_string_buffer(person.size)
    ok(fetch(people, number, found, len(found), None))
    name, age = person.unpack(found)
    assert (name.rstrip(b"\0"), age) == (b"Abby", 29)

    # A request made once: the quickest way in.
    request = FetchRequest(ctypes.sizeof(FetchRequest), people, number.value, ctypes.addressof(found), len(found))
    ok(fetch_by(byref(request)))

    ok(fetch_json(people, number, 0, byref(text), byref(size)))
    assert json.loads(ctypes.string_at(text, size.value)) == {"name": "Abby", "age": 29}
    free(text)

    assert fetch(people, number.value + 1, found, len(found), None) == 201
    assert b"people" in error_message(), error_message()
    ok(close_table(people))
    ok(close(db))
    print("python: ok")


main(sys.argv[1])
