"""A store of one's own: DiamondDB's verbs, with the records in an SQLite file.

    python sqlite_store.py [file]
"""

from __future__ import annotations

import sqlite3
import sys
from typing import List, Optional, Tuple

import diamonddb
from diamonddb import Change, Entry, Stored


class SqliteStore(diamonddb.Store):
    """Changes wait in a transaction, which persist_all commits. It finds them there at once, and does all or none."""

    name = "sqlite"
    is_atomic = True
    is_immediate = True

    def __init__(self, path: str) -> None:
        self.path = path

    def initialize(self) -> Stored:
        self.file = sqlite3.connect(self.path, isolation_level=None)
        self.file.executescript("""
            PRAGMA synchronous = FULL;
            PRAGMA foreign_keys = ON;
            CREATE TABLE IF NOT EXISTS meta (only INTEGER PRIMARY KEY, tables TEXT);
            CREATE TABLE IF NOT EXISTS tables (number INTEGER PRIMARY KEY);
            CREATE TABLE IF NOT EXISTS records (
                number INTEGER REFERENCES tables, id TEXT, version TEXT, seal TEXT, record BLOB, nulls BLOB,
                PRIMARY KEY (number, id)
            ) WITHOUT ROWID;
            BEGIN;
        """)
        meta = self.file.execute("SELECT tables FROM meta").fetchone()
        told: List[Tuple[int, str, str]] = self.file.execute("SELECT number, id, version FROM records").fetchall()
        return Stored(meta and meta[0], [(number, int(id), int(version)) for number, id, version in told])

    def make_table(self, table: int, meta: str) -> None:
        self.file.execute("INSERT OR IGNORE INTO tables VALUES (?)", (table,))
        self.file.execute("DELETE FROM records WHERE number = ?", (table,))

    def update_meta(self, tables: str) -> None:
        self.file.execute("INSERT OR REPLACE INTO meta VALUES (1, ?)", (tables,))

    def store(self, changes: List[Change]) -> None:
        # A deleted record leaves its id and version behind. Numbers of 64 bits are text, since SQLite's have a sign.
        self.file.execute("SAVEPOINT changes")
        try:
            self.file.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)", [
                (change.table, str(change.id), str(change.entry.version), str(change.entry.seal),
                 None if change.is_deleted else change.entry.record, change.entry.nulls) for change in changes
            ])
        except BaseException:
            self.file.execute("ROLLBACK TO changes")
            raise
        finally:
            self.file.execute("RELEASE changes")

    def fetch(self, table: int, ids: List[int]) -> List[Optional[Entry]]:
        return [self._find(table, id) for id in ids]

    def _find(self, table: int, id: int) -> Optional[Entry]:
        found = self.file.execute(
            "SELECT version, seal, record, nulls FROM records WHERE number = ? AND id = ?", (table, str(id))
        ).fetchone()
        if found is None or found[2] is None:
            return None
        version, seal, record, nulls = found
        return Entry(int(version), int(seal), record, nulls)

    def persist_all(self) -> None:
        self.file.execute("COMMIT")
        self.file.execute("BEGIN")

    def destroy(self) -> None:
        self.file.close()


def main(path: str) -> None:
    """Tries the store's promises, then uses it twice."""
    report = diamonddb.check_store(SqliteStore(path + ".check"), SqliteStore(path + ".check"))
    print(f"{sum(promise['kept'] for promise in report['promises'])} promises kept")
    with diamonddb.open("", store=SqliteStore(path)) as db:
        people = db.table("people", {"name": ["string", 15], "age": ["number", 3]})
        id = people.save({"name": "Abby", "age": 29})
    with diamonddb.open("", store=SqliteStore(path)) as db:
        print(db.table("people")[id])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "people.sqlite")
