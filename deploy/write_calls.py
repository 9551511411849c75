"""Write down in docs/contracts/calls what the contexts of this release ask of each other and answer: a file for each context.

python deploy/write_calls.py [--anyway], or `make calls`, with a release. It refuses what processes of the last release would not
understand, because each context is upgraded alone; --anyway is for a release that says that all stop and start together.
"""

import sys
from pathlib import Path

import msgspec

from souk import app
from souk.kit.compatibility import Contract, describe_context, find_breaks

FOLDER = Path(__file__).parents[1] / "docs/contracts/calls"


def read_released() -> dict[str, Contract]:
    """What the last release asks and answers, by context."""
    return {file.stem: msgspec.json.decode(file.read_bytes()) for file in sorted(FOLDER.glob("*.json"))}


def describe_all() -> dict[str, Contract]:
    """What this version asks and answers, by context."""
    app.import_contexts()
    return {context: describe_context(context) for context in app.CONTEXTS}


def find_all_breaks(released: dict[str, Contract], now: dict[str, Contract]) -> list[str]:
    """What keeps a process of the last release and one of this version from understanding each other."""
    gone = [f"{context} is gone" for context in released.keys() - now.keys()]
    return gone + [f"{name}: {why}" for name in released.keys() & now.keys() for why in find_breaks(released[name], now[name])]


def main(*options: str) -> None:
    """Write every file, or say why not."""
    now = describe_all()
    if (breaks := find_all_breaks(read_released(), now)) and "--anyway" not in options:
        raise SystemExit("\n".join(breaks))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for context, contract in now.items():
        (FOLDER / f"{context}.json").write_text(write(contract))


def write(contract: Contract) -> str:
    """As JSON with a line for each function, refusal and type; the order of fields is kept, for some are written by position."""
    parts = []
    for kind, named in contract.items():
        lines = ",\n".join(f'  "{name}": {msgspec.json.encode(what).decode()}' for name, what in sorted(named.items()))
        parts.append(f' "{kind}": {{\n{lines}\n }}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
