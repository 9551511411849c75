"""Each context is upgraded alone: what processes ask of each other and answer is understood by the release before."""

import copy

import msgspec
from deploy.write_calls import FOLDER, describe_all, find_all_breaks, read_released, write

RELEASED = read_released()


def test_the_release_before_is_understood_and_understands() -> None:
    assert len(RELEASED) >= 10
    assert sum(len(contract["functions"]) for contract in RELEASED.values()) > 150
    assert find_all_breaks(RELEASED, describe_all()) == [], "make it an addition with a default, or a new function; see decision 21"


def test_what_is_written_down_is_what_is_read_again() -> None:
    now = describe_all()
    assert {context: msgspec.json.decode(write(contract)) for context, contract in now.items()} == now
    assert {file.stem for file in FOLDER.glob("*.json")} <= set(now)


def test_a_planted_change_is_seen() -> None:
    planted = copy.deepcopy(RELEASED)
    del planted["orders"]["types"]["orders.Order"]["fields"]["status"]
    assert find_all_breaks(RELEASED, planted)
    planted = copy.deepcopy(RELEASED)
    planted["inventory"]["types"]["inventory.ReserveStock"]["fields"]["colour"] = {"type": {"is": "str"}, "required": True}
    assert find_all_breaks(RELEASED, planted)
    planted["inventory"]["types"]["inventory.ReserveStock"]["fields"]["colour"]["required"] = False
    assert find_all_breaks(RELEASED, planted) == []
    assert find_all_breaks(RELEASED, {name: contract for name, contract in planted.items() if name != "carts"}) == ["carts is gone"]
