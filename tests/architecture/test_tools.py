"""What ruff and mypy hold of the rules: each is run on planted source, so that a loosened configuration is noticed."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PLANTED = {
    "TID252": "from . import types",
    "PLC0415": "def f():\n    import os\n    return os",
    "PLR0913": "def f(a, b, c, d, e, f, g): ...",
    "DTZ005": "from datetime import datetime\nnow = datetime.now()",
    "T201": "print('sold')",
    "E501": f"x = '{'x' * 140}'",
    "F401": "import os",
    "S101": "assert True",
}
LOOSE = """
import json

def untyped(order_id): return order_id
def unanswered(order_id: int) -> list: return []
def surprising(text: str) -> int: return json.loads(text)
def sloppy(text: str) -> int:
    return text  # type: ignore
"""
SEEN_BY_MYPY = {"no-untyped-def", "type-arg", "no-any-return", "ignore-without-code"}


def run(*command: str, text: str = "") -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", PLANTED)
def test_ruff_sees_a_planted_violation(code: str) -> None:
    told = run(
        "ruff", "check", "--no-cache", "--output-format", "json", "--stdin-filename", "src/souk/orders/spy.py", "-", text=PLANTED[code]
    )
    assert code in {found["code"] for found in msgspec.json.decode(told)}


def test_mypy_sees_loose_types(tmp_path: Path) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(LOOSE)
    told = run("mypy", "--config-file", "pyproject.toml", "--cache-dir", str(tmp_path / "cache"), "--show-error-codes", str(spy))
    assert {code for code in SEEN_BY_MYPY if f"[{code}]" in told} == SEEN_BY_MYPY, told
