"""What the tests share: a database in an empty folder, tables, and child processes with a time limit."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import diamonddb

BINDING = Path(__file__).resolve().parent.parent
PEOPLE = {"name": ["string", 15], "age": ["number", 3]}
ALL_TYPES = {
    "text": ["string", 8], "units": ["string", 4, "characters"], "raw": ["bytes", 3], "shown": ["number", 5],
    "i8": ["i8"], "i16": ["i16"], "i32": ["i32"], "i64": ["i64"], "u8": ["u8"], "u16": ["u16"], "u32": ["u32"],
    "u64": ["u64"], "f32": ["f32"], "f64": ["f64"], "truth": ["bool"], "moment": ["timestamp"],
}
# A clock for the whole suite: no test hangs, whatever breaks.
LIMIT = 60


@pytest.fixture
def db(tmp_path):
    with diamonddb.open(tmp_path / "db") as database:
        yield database


@pytest.fixture
def people(db):
    return db.table("people", PEOPLE)


@pytest.fixture
def everything(db):
    return db.table("everything", ALL_TYPES)


@pytest.fixture
def child(tmp_path):
    """Runs a program in a process of its own, in an empty folder, and gives what it printed."""

    def run(program, *arguments, code=0):
        command = [sys.executable, "-X", "dev", "-X", "faulthandler", "-c", textwrap.dedent(program), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == code, f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
