"""Fixtures for tests of users: cheap passwords, a home of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from souk.users.settings import place, settings


@pytest.fixture(autouse=True)
def cheap_users(tmp_path: Path) -> Iterator[None]:
    """Passwords are hashed in no time, and the shop's secrets lie in the test's own folder."""
    before, home = settings.now, place.now
    settings.replace(password_rounds=1, password_memory_kib=64)
    place.replace(home=tmp_path)
    yield
    settings.replace(**msgspec.structs.asdict(before))
    place.replace(**msgspec.structs.asdict(home))
