"""Plant the bugs of this folder one by one in a copy of the source, and see that the tests find each of them."""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
TABLE = ROOT / ".mutants" / "table.md"
COPIED = ("src", "tests", "bench", "deploy", "docs", "compose.yaml", "Dockerfile", ".dockerignore", "pyproject.toml")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info")

FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)
# Only a failed test has seen a bug; what cannot be imported or set up says nothing about the tests.
TESTS_FAILED = 1
# What an interrupted run gets to stop its servers.
STOP_S = 30


@dataclass(frozen=True)
class Mutant:
    """A planted bug: what is wrong, the tests that are to find it, and the patch that brings it."""

    path: Path
    bug: str
    tests: tuple[str, ...]

    @property
    def number(self) -> str:
        return self.path.name.partition("-")[0]


@dataclass(frozen=True)
class Verdict:
    """How a mutant fared; `trouble` is why it was not caught."""

    mutant: Mutant
    caught_by: str
    seconds: float
    trouble: str = ""

    @property
    def row(self) -> str:
        found = f"`{self.caught_by}`" if self.caught_by else f"**{self.trouble}**"
        return f"| {self.mutant.path.stem} | {self.mutant.bug} | {found} | {self.seconds:.0f} |"


def read_mutants(folder: Path = HERE) -> tuple[Mutant, ...]:
    """Every patch of a folder with its headers; raises ValueError for one that lacks them."""
    return tuple(read_mutant(path) for path in sorted(folder.glob("*.patch")))


def read_mutant(path: Path) -> Mutant:
    head = path.read_text().partition("\n--- ")[0]
    headers = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    if not headers.get("Bug") or not headers.get("Tests"):
        raise ValueError(f"{path.name} is to begin with the lines 'Bug: ...' and 'Tests: ...'")
    return Mutant(path, headers["Bug"], tuple(shlex.split(headers["Tests"])))


def apply_patch(mutant: Mutant, copy: Path, *options: str) -> str:
    """Patch a copy of the source; what git has against it, if anything."""
    # Inside of a work tree git would look for the files from its top, and silently skip them.
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(copy.parent)}
    command = ["git", "apply", *options, str(mutant.path.resolve())]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def try_mutant(mutant: Mutant, limit_s: float) -> Verdict:
    """Run its tests on a copy of the source that has the bug, until the first failure."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="souk-mutant-") as folder:
        copy = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=NOT_COPIED)
            else:
                shutil.copy(ROOT / name, copy / name)
        if refused := apply_patch(mutant, copy):
            return Verdict(mutant, "", time.monotonic() - began, f"does not apply: {refused.splitlines()[0]}")
        environment = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        check_import(copy, environment)
        code, told = run_tests(mutant, copy, environment, limit_s)
    seconds = time.monotonic() - began
    found = FAILED.search(told)
    if code == TESTS_FAILED and found:
        return Verdict(mutant, found[1], seconds)
    if code is None:
        return Verdict(mutant, "", seconds, f"no end within {limit_s:.0f} s")
    print(told[-3000:])
    return Verdict(mutant, "", seconds, "survived" if code == 0 else f"the tests do not run (pytest ended with {code})")


def check_import(copy: Path, environment: dict[str, str]) -> None:
    """The package is installed from the checkout, too: make sure that the copy comes first."""
    command = [sys.executable, "-c", "import souk; print(souk.__file__)"]
    found = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    if copy.resolve() not in Path(found).resolve().parents:
        raise SystemExit(f"The tests would import {found}, which is not the mutant.")


def run_tests(mutant: Mutant, copy: Path, environment: dict[str, str], limit_s: float) -> tuple[int | None, str]:
    """How pytest ended, None if it had to be stopped, and what it told."""
    options = ("-x", "-q", "--tb=line", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, *mutant.tests]
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as running:
        try:
            told, _ = running.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            stop(running)
            return None, ""
        except KeyboardInterrupt:
            stop(running)
            raise
    return running.returncode, told


def stop(running: "subprocess.Popen[str]") -> None:
    """Interrupt the tests, so that they stop their servers; they are in a session of their own, where no key reaches them."""
    running.send_signal(signal.SIGINT)
    try:
        running.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", metavar="NN", nargs="+", help="run these mutants alone")
    options.add_argument("--limit", metavar="S", type=float, default=300, help="how long a mutant's tests may take (%(default)s)")
    asked = options.parse_args()
    mutants = [one for one in read_mutants() if not asked.only or one.number in asked.only]
    if not mutants:
        raise SystemExit(f"There is no such mutant in {HERE.name}/.")
    rows = ["| mutant | bug | first failing test | seconds |", "|---|---|---|---|"]
    escaped = 0
    print("\n".join(rows))
    for mutant in mutants:
        verdict = try_mutant(mutant, asked.limit)
        escaped += not verdict.caught_by
        rows.append(verdict.row)
        print(verdict.row, flush=True)
    summary = f"{len(mutants) - escaped} of {len(mutants)} caught."
    print(summary)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join([*rows, "", summary]) + "\n")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
