"""A cache that does not do what it should is as if there were none."""

import asyncio
import signal

import pytest
from tests.caches import CacheServer
from tests.kit import notebook
from tests.waiting import until

from souk.kit.cache import Cache, Settings, cache
from souk.kit.config import BadSettings, read_settings
from souk.kit.db import CallInTransaction
from souk.kit.telemetry import CACHE_ERRORS


async def put(key: str, value: bytes, other: Cache = cache) -> None:
    """Write until it is there."""
    other.write({key: value}, 60)

    async def is_there() -> bool:
        return await other.read([key]) == [value]

    await until(is_there)


def count_errors() -> float:
    return sum(sample.value for metric in CACHE_ERRORS.collect() for sample in metric.samples if sample.name.endswith("_total"))


async def until_it_answers() -> None:
    async def answers() -> bool:
        return await cache.read(["anything"]) is not None

    await until(answers)


async def test_without_one_there_is_nothing_and_everybody_works_for_themselves() -> None:
    none = Cache()
    none.write({"a": b"1"}, 60)
    assert (none.is_used, await none.read(["a"]), await none.claim(["a", "b"], 1000)) == (False, None, [True, True])


async def test_what_is_written_is_read_and_what_is_claimed_is_claimed_once(valkey: CacheServer) -> None:
    await put("a", b"1")
    assert await cache.read(["a", "b"]) == [b"1", None]
    assert await cache.claim(["c", "d"], 60_000) == [True, True]
    assert await cache.claim(["d", "e"], 60_000) == [False, True]
    cache.write({}, 0, gone=["a", "d"])

    async def is_gone() -> bool:
        return await cache.read(["a", "d"]) == [None, None]

    await until(is_gone)


async def test_a_dead_cache_is_left_alone_and_used_again_when_it_is_back(valkey: CacheServer) -> None:
    await put("a", b"1")
    valkey.kill()
    before = count_errors()
    assert [await cache.read(["a"]) for _ in range(200)] == [None] * 200
    assert count_errors() - before <= 3
    valkey.start()
    await until_it_answers()
    assert await cache.read(["a"]) == [None]


async def test_a_cache_that_hangs_is_asked_by_few(valkey: CacheServer) -> None:
    await put("a", b"1")
    valkey.send(signal.SIGSTOP)
    try:
        before = count_errors()
        for _ in range(5):
            assert await asyncio.gather(*(cache.read(["a"]) for _ in range(100))) == [None] * 100
            assert await cache.claim(["x"], 1000) == [True]
        # Those who had asked before it was known, and no more.
        assert count_errors() - before <= 100
        after = count_errors()
        assert [await cache.read(["a"]) for _ in range(200)] == [None] * 200
        assert count_errors() - after <= 3
    finally:
        valkey.send(signal.SIGCONT)
    await until_it_answers()
    assert await cache.read(["a"]) == [b"1"]


async def test_an_answer_never_comes_to_another_question(valkey: CacheServer) -> None:
    """Whoever stops waiting leaves an answer behind on its connection; nobody else may get it."""
    for number in range(20):
        await put(f"key{number}", b"%d" % number)
    for _ in range(10):
        asked = [asyncio.create_task(cache.read([f"key{number % 20}"])) for number in range(40)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        answers = await asyncio.gather(*(cache.read([f"key{number}"]) for number in range(20)))
        assert [answer for number, answer in enumerate(answers) if answer not in ([b"%d" % number], None)] == []


async def test_a_full_cache_is_read_all_the_same(valkey: CacheServer) -> None:
    await put("a", b"1")
    valkey.client().config_set("maxmemory", "1mb")
    valkey.client().config_set("maxmemory-policy", "noeviction")
    for number in range(60):
        cache.write({f"large{number}": bytes(100_000)}, 60)
        await asyncio.sleep(0)

    async def is_refused() -> bool:
        cache.write({"more": bytes(100_000)}, 60)
        return "OutOfMemoryError" in {sample.labels.get("reason") for metric in CACHE_ERRORS.collect() for sample in metric.samples}

    await until(is_refused)

    async def is_read() -> bool:
        return await cache.read(["a", "more"]) == [b"1", None]

    await until(is_read)


async def test_nobody_asks_it_with_a_transaction_open(here: str, valkey: CacheServer) -> None:
    async with notebook.db.transaction():
        with pytest.raises(CallInTransaction):
            await cache.read(["a"])
        cache.write({"a": b"1"}, 60)
    await put("b", b"2")
    assert await cache.read(["a"]) == [b"1"]


@pytest.mark.parametrize("url", ["http://somewhere", "localhost:6379", "valkey://", "valkey://a b"])
def test_an_address_that_is_none_is_told_at_the_start(url: str) -> None:
    with pytest.raises(BadSettings, match="SOUK_CACHE_URL"):
        read_settings(Settings, "SOUK", {"SOUK_CACHE_URL": url})
