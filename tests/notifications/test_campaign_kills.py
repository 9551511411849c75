"""A campaign from a shop that is killed again and again, to a real post office: each gets it once, and every message has an end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ports import find_free_ports
from tests.torture import TORTURE

ROOT = Path(__file__).parents[2]
RECIPIENTS, KILLS = (20_000, 10) if TORTURE else (500, 3)


def find_three_ports() -> int:
    """The first of three in a row."""
    return next(port for port in find_free_ports(200) if port % 3 == 0)


@pytest.mark.timeout(1_800 if TORTURE else 300)
def test_each_gets_it_once_though_the_shop_dies_again_and_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "campaign", "--recipients", str(RECIPIENTS), "--kills", str(KILLS)]
    where = ["--home", str(tmp_path / "shop"), "--port", str(find_three_ports())]
    with (tmp_path / "log").open("w") as log:
        done = subprocess.run([*command, *where], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    assert done.returncode == 0, (tmp_path / "log").read_text()[-2_000:]
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert (report["once"], report["more_than_once"], report["never"]) == (RECIPIENTS, 0, 0)
    assert report["states"] == {"sent": RECIPIENTS}
