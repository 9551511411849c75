"""What a run costs: CPU seconds and memory by group of processes, read from /proc."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")


class Usage(msgspec.Struct, frozen=True):
    """CPU seconds so far: of the shop's processes, of PostgreSQL, of this process, of the whole machine."""

    shop: float
    postgres: float
    generator: float
    machine: float
    at: float

    def since(self, before: "Usage") -> "Usage":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(before), strict=True)
        return Usage(*(now - then for now, then in pairs))


def processes() -> dict[int, tuple[str, int, float]]:
    """Every process: its name, its parent and its CPU seconds, those of children that ended included."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        found[int(folder.name)] = (name, int(rest[1]), sum(map(int, rest[11:15])) / TICKS)
    return found


def tree(root: int, known: dict[int, tuple[str, int, float]]) -> set[int]:
    """A process and all that come from it."""
    members = {root}
    while more := {pid for pid, (_, parent, _) in known.items() if parent in members} - members:
        members |= more
    return members


def measure(shop_pid: int, postgres_pid: int) -> Usage:
    """How much was used up to now."""
    known = processes()
    parts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    busy = sum(int(part) for place, part in enumerate(parts) if place not in (3, 4)) / TICKS
    shop, postgres = ({pid: known[pid][2] for pid in tree(root, known) if pid in known} for root in (shop_pid, postgres_pid))
    return Usage(sum(shop.values()), sum(postgres.values()), known[os.getpid()][2], busy, time.perf_counter())


def spent(pids: Sequence[int]) -> list[float]:
    """CPU seconds so far of each of these processes and all that come from it, but for those that are counted by themselves."""
    known = processes()
    found = []
    for root in pids:
        others = set().union(*(tree(other, known) for other in pids if other != root and other in tree(root, known)))
        found.append(sum(known[pid][2] for pid in tree(root, known) - others if pid in known))
    return found


def memory_mb(*roots: int) -> float:
    """Proportional set size of these processes and all that come from them, in MB."""
    known = processes()
    total = 0
    for pid in set().union(*(tree(root, known) for root in roots)):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000
