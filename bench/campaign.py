"""A campaign by e-mail from a shop that is killed again and again: who got it how often, how fast, and what the post could take."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import uvloop

from bench import machine
from bench.load import wait_until_listening
from bench.shop import Stock, filled, until_told
from souk import app, notifications, users
from souk.kit.callers import SYSTEM, Caller, Principal, asking
from souk.kit.config import find_secret
from souk.kit.ids import new_id
from souk.notifications.campaign_types import NewCampaign, Schedule, Words
from souk.notifications.channels.channel import Accepted, Letter
from souk.notifications.channels.email import Email
from souk.notifications.rendering import Recipient, Told, render_letter
from souk.notifications.settings import Settings, place, settings

TEXT = "Everything made of linen is a fifth cheaper, and of wool, too.\n\nUntil Sunday, in all sizes, as long as there is some."
WORDS = {"en": Words("The spring sale has begun", TEXT), "de": Words("Der Frühjahrsverkauf hat begonnen", TEXT)}
# Letters of a bare loop, each time: before and after, and after each death, for a machine is not the same all the time.
BARE = 6_000
NOBODY = tuple(f"nobody{number}@bench.example" for number in range(BARE))
LOOK_S = 0.05
# While letters leave: each look keeps the post from taking some, and nobody looks while the bare loop runs.
LOOK_MEANWHILE_S = 0.2
COUNT_OPEN = "SELECT count(*) FROM notifications.message WHERE channel = 'email' AND status IN ('waiting', 'sending')"
COUNT_STATES = """
    SELECT status, coalesce(reason, '') AS reason, count(*) AS count FROM notifications.message
    WHERE channel = 'email' AND kind = 'campaign' GROUP BY 1, 2
"""


class Size(msgspec.Struct, frozen=True):
    """How many are told, how often the shop dies, the seed of when, and whether they are told in their feeds, too."""

    recipients: int
    kills: int
    seed: int = 1
    feeds: bool = False


class Costs(msgspec.Struct, frozen=True):
    """Milliseconds of CPU for each recipient: of who sends, of PostgreSQL, and of the post that takes it."""

    sender: float
    postgres: float
    post: float


class Report(msgspec.Struct, frozen=True):
    """Rates are recipients a second: of the shop while it ran, over all with its deaths, and of a bare loop over the same connections."""

    recipients: int
    kills: int
    once: int
    more_than_once: int
    never: int
    states: dict[str, int]
    per_s: float
    with_kills_per_s: float
    floor_per_s: float
    share_of_floor: float
    resume_s_median: float
    resume_s_worst: float
    cpu_ms: Costs
    floor_cpu_ms: Costs


class Post:
    """The sandbox's post, a process of its own."""

    def __init__(self, url: str, key: str, pid: int) -> None:
        self._url, self._headers, self.pid = url, {"Authorization": f"Bearer {key}"}, pid

    def read(self, path: str) -> dict[str, object]:
        with urlopen(Request(self._url + path, headers=self._headers), timeout=30) as answer:
            found: dict[str, object] = msgspec.json.decode(answer.read())
            return found

    def count(self) -> int:
        """How many letters it has taken: the number of the last one, for to count them keeps it from taking more."""
        try:
            return int(str(self.read("/v1/letters/latest")["seq"]))
        except HTTPError:
            return 0

    def letters(self, after: int = 0) -> Iterator[dict[str, object]]:
        """What is in the book after so many letters."""
        position: object = after
        while position is not None:
            page = self.read(f"/v1/letters?after={position}&limit=10000")
            yield from page["items"]  # type: ignore[misc]
            position = page["next"]

    def recipients(self, after: int) -> Counter[str]:
        """How often each address got something, after so many letters."""
        return Counter(str(one["recipient"]) for one in self.letters(after))


@contextmanager
def post_office(home: Path, port: int, mail_port: int) -> Iterator[Post]:
    command = [sys.executable, "-m", "souk", "sandbox", "--port", str(port), "--mail-port", str(mail_port)]
    process = subprocess.Popen(command, env={**os.environ, "SOUK_HOME": str(home)})
    try:
        wait_until_listening(mail_port)
        wait_until_listening(port)
        yield Post(f"http://127.0.0.1:{port}", find_secret(home, "sandbox_api_key").decode(), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def measure(home: Path, size: Size, port: int) -> Report:
    """Fill a shop with people, let it tell all of them something, kill it meanwhile, and look into the book of the post."""
    home = home.resolve()
    with filled(home, Stock(10), 0) as (dsn, _), post_office(home, port + 1, port + 2) as post:
        addresses = uvloop.run(prepare(dsn, size))
        wanted = set(addresses)
        environment = {
            "DATABASE_URL": dsn, "SOUK_LOG_LEVEL": "WARNING", "SOUK_NOTIFICATIONS_SANDBOX_URL": f"http://127.0.0.1:{port + 1}",
            "SOUK_NOTIFICATIONS_SMTP_HOST": "127.0.0.1", "SOUK_NOTIFICATIONS_SMTP_PORT": str(port + 2),
            "SOUK_NOTIFICATIONS_SMTP_IS_SANDBOX": "true",
            # The post answers within a moment: who is killed need not be waited for longer.
            "SOUK_NOTIFICATIONS_ORPHAN_GRACE_S": "5",
        }  # fmt: skip
        postgres_pid = uvloop.run(find_postgres(dsn))
        bare = partial(measure_bare, home, Settings(smtp_host="127.0.0.1", smtp_port=port + 2), (postgres_pid, post.pid))
        floors = [bare()]
        before = post.count()
        fates = run_and_kill({**os.environ, **environment}, port, post, (size, postgres_pid), lambda: floors.append(bare()))
        # Sellers are told that they may sell: that is none of this.
        got = Counter({to: count for to, count in post.recipients(before).items() if to in wanted})
        states = uvloop.run(count_states(dsn))
        floors.append(bare())
    floor, per_s = find_rate(floors), find_rate(fates.stretches)
    resumes = sorted(fates.resumes) or [0.0]
    return Report(
        size.recipients, size.kills, sum(count == 1 for count in got.values()), sum(count > 1 for count in got.values()),
        len(wanted - set(got)), states, round(per_s, 1), round(size.recipients / fates.took_s, 1), round(floor, 1),
        round(per_s / floor, 3), round(resumes[len(resumes) // 2], 2), round(resumes[-1], 2),
        find_costs(fates.stretches), find_costs(floors),
    )  # fmt: skip


class Stretch(msgspec.Struct, frozen=True):
    """Some time of work: how many letters left in it, how long it was, and the CPU seconds of who sent, PostgreSQL and the post."""

    letters: int
    seconds: float
    cpu_s: tuple[float, ...]


def find_rate(stretches: Sequence[Stretch]) -> float:
    """Letters a second."""
    return sum(one.letters for one in stretches) / sum(one.seconds for one in stretches)


def find_costs(stretches: Sequence[Stretch]) -> Costs:
    letters = sum(one.letters for one in stretches)
    return Costs(*(round(sum(spent) * 1000 / letters, 3) for spent in zip(*(one.cpu_s for one in stretches), strict=True)))


@contextmanager
def watched(stretches: list[Stretch], pids: Sequence[int], letters: Callable[[], int]) -> Iterator[None]:
    """Add a stretch that is as long as this block."""
    count, spent, began = letters(), machine.spent(pids), time.perf_counter()
    yield
    took, now = time.perf_counter() - began, machine.spent(pids)
    stretches.append(Stretch(letters() - count, took, tuple(after - before for before, after in zip(spent, now, strict=True))))


async def find_postgres(dsn: str) -> int:
    """The first process of the server."""
    checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
    async with app.opened(app.read_shop(app.CONTEXTS, dsn)):
        return machine.processes()[int(await app.database_of("notifications").value(checkpointer))][1]


async def prepare(dsn: str, size: Size) -> list[str]:
    """People whose addresses are theirs, and a campaign for all of them that begins when the shop does."""
    shop = app.read_shop(app.CONTEXTS, dsn)
    addresses = [f"reader{number}@bench.example" for number in range(size.recipients)]
    async with app.at_work(shop):
        with asking(Caller(principal=SYSTEM, request_id="bench")):
            for start in range(0, size.recipients, 5_000):
                some = addresses[start : start + 5_000]
                await users.register_users(tuple(users.NewUser(id=new_id(), email=one, email_verified=True) for one in some))
            # They are people whom the shop knows: that they have come is no part of the campaign.
            await until_told()
    async with app.opened(shop):
        with asking(Caller(Principal("user", new_id(), ("admin",)), request_id="bench", idempotency_key=str(new_id()))):
            campaign = await notifications.create_campaign(
                NewCampaign(
                    name="Sale",
                    words=WORDS,
                    channels=None if size.feeds else ("email",),
                    segment=users.Segment(user_ids=None, registered_from=None),
                )
            )
            await notifications.set_campaign_schedule(campaign.id, Schedule())
    return addresses


def measure_bare(home: Path, how: Settings, others: tuple[int, int]) -> Stretch:
    """Nothing but the connections: the same letters, written before, to the same post, and to nobody who is in the shop."""
    stretches: list[Stretch] = []
    counts = iter((0, BARE))
    place.replace(home=home)
    settings.replace(from_address=how.from_address)
    told = [Told("campaign", {"subject": WORDS["en"].subject, "text": WORDS["en"].text})]
    url = "http://127.0.0.1:8000/notifications/unsubscribe/" + "x" * 80
    rendered = render_letter(told, Recipient("en"), url)
    letters = [Letter(new_id(), to, rendered.subject, rendered.text, rendered.page, url) for to in NOBODY]
    with watched(stretches, (os.getpid(), *others), lambda: next(counts)):
        uvloop.run(send_bare(how, letters))
    return stretches[0]


async def send_bare(how: Settings, letters: Sequence[Letter]) -> None:
    """Carry these letters as the shop does, and do nothing else."""
    email = Email(how)
    waiting = [letters[start : start + how.batch] for start in range(0, len(letters), how.batch)]

    async def carry_some() -> None:
        while waiting:
            batch = waiting.pop()
            while batch:
                outcomes = await email.deliver(batch, set())
                batch = [one for one, outcome in zip(batch, outcomes, strict=True) if not isinstance(outcome, Accepted)]

    await asyncio.gather(*(carry_some() for _ in range(how.batches)))
    await email.close()


class Fates(msgspec.Struct):
    """What happened: how long in all but for the bare loops, each stretch of work, and how long it took to go on after each death."""

    took_s: float
    stretches: list[Stretch]
    resumes: list[float]


def run_and_kill(environment: dict[str, str], port: int, post: Post, what: tuple[Size, int], meanwhile: Callable[[], None]) -> Fates:
    """Run the shop until everybody was told, kill it at so many moments, by letters that have left, and do something while it is dead."""
    size, postgres_pid = what
    moments = sorted(random.Random(size.seed).sample(range(1, size.recipients), size.kills))
    first = post.count()
    fates = Fates(0.0, [], [])
    began = time.perf_counter()
    for moment in [*moments, size.recipients]:
        started, count = time.perf_counter(), post.count()
        process = start_shop(environment, port)
        try:
            while (now := post.count()) == count and now - first < size.recipients:
                require_life(process)
                time.sleep(LOOK_S)
            if len(fates.stretches):
                fates.resumes.append(time.perf_counter() - started)
            with watched(fates.stretches, (process.pid, postgres_pid, post.pid), post.count):
                while post.count() - first < moment:
                    require_life(process)
                    time.sleep(LOOK_MEANWHILE_S)
            if moment == size.recipients:
                fates.took_s = time.perf_counter() - began
                wait_until_all_is_known(environment["DATABASE_URL"])
        finally:
            process.kill()
            process.wait(30)
        if moment != size.recipients:
            paused, count = time.perf_counter(), post.count()
            meanwhile()
            began += time.perf_counter() - paused
            first += post.count() - count
    return fates


def start_shop(environment: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "souk", "up", "--no-demo", "--port", str(port)], env=environment)


def require_life(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise RuntimeError("the shop has died by itself")


def wait_until_all_is_known(dsn: str, within: timedelta = timedelta(minutes=2)) -> None:
    """Return when each message has ended."""
    end = time.monotonic() + within.total_seconds()
    while uvloop.run(ask(dsn, COUNT_OPEN)):
        if time.monotonic() > end:
            raise TimeoutError("messages do not end")
        time.sleep(0.3)


async def ask(dsn: str, statement: str) -> int:
    async with app.opened(app.read_shop(app.CONTEXTS, dsn)):
        return int(await app.database_of("notifications").value(statement))


async def count_states(dsn: str) -> dict[str, int]:
    async with app.opened(app.read_shop(app.CONTEXTS, dsn)):
        rows = await app.database_of("notifications").pool.fetch(COUNT_STATES)
    return {f"{row['status']} {row['reason']}".strip(): row["count"] for row in rows}
