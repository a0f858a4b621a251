"""A service on asyncio that keeps its sessions in a table. Each is on disk before its user hears of it.

    python sessions.py [folder]
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Annotated

import diamonddb


@dataclass(frozen=True)
class Session:
    """Who is logged in, since when, and how often they came by."""

    user: Annotated[str, "string", 40]
    key: Annotated[bytes, "bytes", 16]
    begun: Annotated[datetime, "timestamp"]
    visits: Annotated[int, "u32"]


class Sessions:
    """The service. A session's token is its id and its key."""

    def __init__(self, db: diamonddb.Database) -> None:
        self.table = db.table("sessions", Session)

    async def log_in(self, user: str) -> str:
        """Begins a session."""
        session = Session(user, secrets.token_bytes(16), datetime.now(timezone.utc), 0)
        return f"{await self.table.asave(session)}.{session.key.hex()}"

    async def visit(self, token: str) -> Session:
        """Counts a visit, whoever else counts one at the same time."""
        id, key = token.split(".")
        while True:
            session = self.table[int(id)]
            if session.key.hex() != key:
                raise PermissionError("This is not the key of the session.")
            visited = replace(session, visits=session.visits + 1)
            try:
                await self.table.areplace(int(id), visited, expected=session)
                return visited
            except diamonddb.ConflictError:
                continue


async def main(folder: str) -> None:
    """A hundred users log in at once and come by ten times each."""
    with diamonddb.open(folder) as db:
        sessions = Sessions(db)
        tokens = await asyncio.gather(*(sessions.log_in(f"user {number}") for number in range(100)))
        await asyncio.gather(*(sessions.visit(token) for token in tokens for _ in range(10)))
        visits = [session.visits for session in sessions.table.values()]
        print(f"{len(visits)} sessions, {sum(visits)} visits")
        assert set(visits) == {10}


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sessions.db"))
