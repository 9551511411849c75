"""A post office that is a real process, and the shop's settings as they were after each test."""

from collections.abc import AsyncIterator, Callable, Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import aiohttp
import msgspec
import pytest
from tests.ports import find_free_port
from tests.sandbox.conftest import API_KEY, SECRET, Sandbox

from souk.notifications import fanning_out
from souk.notifications.channels import carriers
from souk.notifications.limits import limits
from souk.notifications.settings import Settings, place, settings


@pytest.fixture(autouse=True)
def settings_as_they_were(tmp_path: Path) -> Iterator[None]:
    """What a test sets is its own; the shop's key, too."""
    before, home = settings.now, place.now
    place.replace(home=tmp_path)
    yield
    # Conversations belong to the loop of their test.
    carriers._set_up.cache_clear()
    settings.replace(**msgspec.structs.asdict(before))
    place.replace(home=home.home)


@pytest.fixture(autouse=True)
def limits_as_they_were() -> Iterator[None]:
    before = limits.now
    yield
    limits.replace(**msgspec.structs.asdict(before))


@pytest.fixture(autouse=True)
def nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that no sender takes are planned at once."""
    monkeypatch.setattr(fanning_out, "TAKEN_WITHIN_S", 0.0)


class Post:
    """The sandbox's post as a test sees it."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.port = int(str(sandbox.settings["mail_port"]))
        self._session = session
        # An office that several tests share: each sees what came in its own time.
        self.since: object = 0

    def settings(self, **more: object) -> Settings:
        """Those of a shop that sends by it."""
        known = {
            "smtp_host": "127.0.0.1", "smtp_port": self.port, "smtp_timeout_s": 2.0, "smtp_answer_timeout_s": 2.0, "orphan_grace_s": 5.0,
            "smtp_is_sandbox": True,
            "from_address": "Shop <shop@shop.example>",
            "sandbox_url": self.sandbox.url, "sandbox_api_key": API_KEY, "webhook_secrets": (SECRET,),
        }  # fmt: skip
        return Settings(**{**known, **more})

    def use(self, **more: object) -> None:
        """Have the shop of this test send by it."""
        settings.replace(**msgspec.structs.asdict(self.settings(**more)))

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with self._session.request(method, self.sandbox.url + path, data=data, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
            found: dict[str, object] = await answer.json()
            return found

    async def letters(self) -> list[dict[str, object]]:
        """The whole book."""
        items: list[dict[str, object]] = []
        after = self.since
        while after is not None:
            page = await self.ask("GET", f"/v1/letters?after={after}&limit=10000")
            items += page["items"]  # type: ignore[arg-type]
            after = page["next"]
        return items

    async def read(self, seq: object) -> EmailMessage:
        """A letter as its recipient's program reads it."""
        found = message_from_bytes(await self.read_raw(seq), policy=default)
        assert isinstance(found, EmailMessage)
        return found

    async def read_raw(self, seq: object) -> bytes:
        async with self._session.get(
            f"{self.sandbox.url}/v1/letters/{seq}/raw", headers={"Authorization": f"Bearer {API_KEY}"}
        ) as answer:
            return await answer.read()

    async def impose(self, **mood: object) -> None:
        await self.ask("POST", "/control/post", mood)


@pytest.fixture
async def open_post(tmp_path: Path) -> AsyncIterator[Callable[..., Post]]:
    """Start a post office with a home of its own."""
    started: list[Sandbox] = []
    async with aiohttp.ClientSession() as session:

        def start(**told: object) -> Post:
            home = tmp_path / f"post{len(started)}"
            started.append(
                Sandbox(**{"home": str(home), "webhook_url": "http://127.0.0.1:9/", "mail_port": find_free_port(), **told}).start()
            )
            return Post(started[-1], session)

        yield start
    for one in started:
        one.end()


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A post office for all tests that do not kill theirs."""
    home = tmp_path_factory.mktemp("post")
    sandbox = Sandbox(home=str(home), webhook_url="http://127.0.0.1:9/", mail_port=find_free_port()).start()
    yield sandbox
    sandbox.end()


@pytest.fixture
async def post(office: Sandbox) -> AsyncIterator[Post]:
    async with aiohttp.ClientSession() as session:
        post = Post(office, session)
        await post.ask("POST", "/control/post/reset")
        if known := await post.letters():
            post.since = known[-1]["seq"]
        yield post
