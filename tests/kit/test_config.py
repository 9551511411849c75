"""Settings are read once, and all that is wrong with them is told at once."""

import stat
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from souk.kit.config import BadSettings, Section, find_secret, read_sections, read_settings


class Settings(msgspec.Struct, frozen=True):
    name: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8000
    quick: bool = False
    ratio: float = 0.5
    level: Literal["low", "high"] = "low"
    currencies: tuple[str, ...] = ("USD",)
    sizes: tuple[int, ...] = ()
    home: Path = Path(".souk")
    secret: str | None = None


def read(**variables: str) -> Settings:
    return read_settings(Settings, "SHOP", {f"SHOP_{name}": value for name, value in variables.items()})


def test_defaults_stand_where_nothing_is_set() -> None:
    assert read(NAME="x") == Settings("x")


def test_every_kind_of_value_is_read_from_its_text() -> None:
    assert read(
        NAME="x", PORT="80", QUICK="true", RATIO="0.25", LEVEL="high", CURRENCIES=" USD, EUR,", SIZES="1,2", HOME="~/shop", SECRET="s"
    ) == Settings("x", 80, True, 0.25, "high", ("USD", "EUR"), (1, 2), Path("~/shop").expanduser(), "s")


def test_an_empty_text_is_no_setting() -> None:
    assert read(NAME="x", PORT="", SECRET="") == Settings("x")


def test_all_mistakes_are_listed_together_and_name_their_variable() -> None:
    with pytest.raises(BadSettings) as bad:
        read(PORT="99999", QUICK="perhaps", RATIO="half", LEVEL="middle", SIZES="1,x")
    told = "\n".join(bad.value.mistakes)
    assert [mistake.split()[0].rstrip(":") for mistake in bad.value.mistakes] == [
        "SHOP_NAME",
        "SHOP_PORT",
        "SHOP_QUICK",
        "SHOP_RATIO",
        "SHOP_LEVEL",
        "SHOP_SIZES",
    ]
    assert "SHOP_NAME is missing" in told
    assert str(bad.value) == told


class Zoned(msgspec.Struct, frozen=True):
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.zone != "UTC":
            raise ValueError(f"{self.zone} is no zone")


def test_what_the_object_itself_refuses_is_a_mistake_too() -> None:
    assert read_settings(Zoned, "SHOP", {}) == Zoned()
    with pytest.raises(BadSettings, match="SHOP: Mars is no zone"):
        read_settings(Zoned, "SHOP", {"SHOP_ZONE": "Mars"})


def test_a_secret_is_not_told_when_another_setting_is_wrong() -> None:
    with pytest.raises(BadSettings) as bad:
        read(NAME="x", SECRET="hunter2", PORT="hunter2")
    assert "hunter2" not in str(bad.value)


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Section, "declared", [])


def test_mistakes_of_all_sections_are_listed_together(sections: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Section(Settings, "ONE"), Section(Settings, "OTHER")
    monkeypatch.setenv("OTHER_PORT", "0")
    with pytest.raises(BadSettings) as bad:
        read_sections()
    assert [mistake.split()[0].rstrip(":") for mistake in bad.value.mistakes] == ["ONE_NAME", "OTHER_NAME", "OTHER_PORT"]


def test_a_section_is_read_once(sections: None, monkeypatch: pytest.MonkeyPatch) -> None:
    section = Section(Settings, "ONE")
    monkeypatch.setenv("ONE_NAME", "first")
    read_sections()
    monkeypatch.setenv("ONE_NAME", "second")
    assert section.now.name == "first"
    section.replace(port=1)
    assert section.now == Settings("first", 1)


def test_a_secret_of_the_shop_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = find_secret(tmp_path / "home", "tokens")
    assert find_secret(tmp_path / "home", "tokens") == first
    assert find_secret(tmp_path / "home", "others") != first
    assert len(first) == 64
    file = tmp_path / "home/secrets/tokens"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_secret_of_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUK_SECRET_TOKENS", "given")
    assert find_secret(tmp_path, "tokens") == b"given"
    assert list(tmp_path.iterdir()) == []
