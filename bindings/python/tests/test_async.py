"""asyncio: awaited commits share their waiting."""

from __future__ import annotations

import asyncio
import threading

import pytest

import diamonddb
from conftest import PEOPLE
from test_modules import DictStore, Place


def test_awaited_saves_are_durable_and_have_their_ids(db, people):
    async def main():
        ids = await asyncio.gather(*(people.asave({"name": f"n{n}", "age": n % 100}) for n in range(1000)))
        db.wait_durable(timeout=0)
        return ids

    ids = asyncio.run(main())
    assert sorted(ids) == list(range(1000))
    assert all(people[id]["name"] == f"n{n}" for n, id in enumerate(ids))


def test_a_thousand_awaited_saves_take_few_syncs(db, people):
    async def main():
        await people.asave({"name": "first"})
        before = syncs(db)
        await asyncio.gather(*(people.asave({"name": "Abby"}) for _ in range(1000)))
        return syncs(db) - before

    assert asyncio.run(main()) < 200


def test_in_async_mode_nothing_is_promised_and_so_nothing_is_waited_for(tmp_path):
    async def main(table):
        before = syncs(db)
        for number in range(200):
            await table.asave({"name": f"n{number}"})
        return syncs(db) - before

    with diamonddb.open(tmp_path / "async", durability="async", interval_ms=3_600_000) as db:
        assert asyncio.run(main(db.table("people", PEOPLE))) < 10


def syncs(db):
    def find(value):
        if isinstance(value, dict):
            yield from (number for key, number in value.items() if key in ("syncs", "wal_syncs"))
            for inner in value.values():
                yield from find(inner)

    return sum(find(db.stats()))


def test_every_verb_that_waits_is_awaited(tmp_path, db, people):
    async def main():
        id = await people.asave({"name": "Abby", "age": 29})
        await people.areplace(id, {"name": "Abby", "age": 30}, expected={"name": "Abby", "age": 29})
        with pytest.raises(diamonddb.ConflictError):
            await people.areplace(id, {"name": "Abby"}, expected={"name": "Abby", "age": 29})
        ids = await people.asave_many([{"name": "Bob"}, {"name": "Cy"}])
        await people.adelete(ids[0])
        with pytest.raises(diamonddb.NotFoundError):
            await people.adelete(ids[0])
        batch = db.batch()
        batch.save(people, {"name": "Dee"})
        assert await batch.acommit() == [3]
        await db.aflush()
        await db.acheckpoint()
        assert (await db.averify())["findings"] == []
        await db.abackup(tmp_path / "copy")
        await db.aclose()

    asyncio.run(main())
    with diamonddb.open(tmp_path / "copy") as copy:
        assert [record["name"] for record in copy.table("people").values()] == ["Abby", "Cy", "Dee"]


def test_a_refused_record_is_an_error_of_its_own(people):
    async def main():
        saves = [people.asave({"name": "Abby"}), people.asave({"name": "A" * 99}), people.asave({"name": "Bob"})]
        return await asyncio.gather(*saves, return_exceptions=True)

    first, refused, last = asyncio.run(main())
    assert isinstance(refused, diamonddb.InvalidError)
    assert [people[first]["name"], people[last]["name"]] == ["Abby", "Bob"]


def test_a_cancelled_save_is_saved_and_disturbs_nobody(people):
    async def main():
        tasks = [asyncio.ensure_future(people.asave({"name": "Abby"})) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert all(isinstance(result, int) for result in results[1::2])
    assert len(people) == 100


def test_loops_on_several_threads_share_one_database(people):
    async def main():
        await asyncio.gather(*(people.asave({"name": "Abby"}) for _ in range(200)))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(people) == 800


def test_a_database_is_closed_beside_awaited_saves(tmp_path):
    async def main():
        db = diamonddb.open(tmp_path / "db")
        people = db.table("people", PEOPLE)
        tasks = [asyncio.ensure_future(people.asave({"name": "Abby"})) for _ in range(500)]
        await asyncio.sleep(0)
        await db.aclose()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    saved = [result for result in results if isinstance(result, int)]
    assert all(isinstance(result, (int, diamonddb.ClosedError)) for result in results)
    with diamonddb.open(tmp_path / "db") as db:
        assert all(id in db.table("people") for id in saved)


def test_a_store_in_python_is_awaited_on_its_own_thread():
    store = DictStore(Place())

    async def main():
        with diamonddb.open("", store=store) as db:
            people = db.table("people", PEOPLE)
            store.calls.clear()
            ids = await asyncio.gather(*(people.asave({"name": "Abby"}) for _ in range(50)))
            return ids, store.calls.count("persist_all")

    ids, persists = asyncio.run(main())
    assert sorted(ids) == list(range(50))
    assert 1 <= persists <= 5


def test_a_persist_that_fails_is_told_to_all_who_await_it():
    store = DictStore(Place())

    async def main():
        with diamonddb.open("", store=store) as db:
            people = db.table("people", PEOPLE)
            store.fail["persist_all"] = OSError("no disk")
            results = await asyncio.gather(*(people.asave({"name": "Abby"}) for _ in range(5)), return_exceptions=True)
            store.fail.clear()
            return results

    results = asyncio.run(main())
    assert results and all(isinstance(result, diamonddb.DiamondError) for result in results)


def test_the_waiting_thread_ends_with_its_database(tmp_path):
    async def main():
        with diamonddb.open(tmp_path / "db") as db:
            await db.table("people", PEOPLE).asave({"name": "Abby"})

    asyncio.run(main())
    assert "diamonddb-waiter" not in {thread.name for thread in threading.enumerate()}
