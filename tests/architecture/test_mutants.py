"""The planted bugs of mutants/ go with the source: each can be planted, and names tests that there are."""

import shutil
from pathlib import Path

import pytest
from mutants.run import Mutant, apply_patch, read_mutant, read_mutants

ROOT = Path(__file__).parents[2]
MUTANTS = read_mutants()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def find_missing_tests(mutant: Mutant) -> list[str]:
    """What a mutant's header names and is not there."""
    missing = []
    for name in mutant.tests:
        file, _, test = name.partition("::")
        path = ROOT / file
        if not path.exists() or (test and f"def {test}(" not in path.read_text()):
            missing.append(name)
    return missing


def test_there_are_mutants_and_each_has_a_number_of_its_own() -> None:
    assert len(MUTANTS) >= 24
    assert len({mutant.number for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.path.stem)
def test_a_mutant_can_be_planted_and_its_tests_are_there(mutant: Mutant, copy: Path) -> None:
    assert apply_patch(mutant, copy, "--check") == ""
    assert not find_missing_tests(mutant)


def test_a_patch_that_the_source_has_outgrown_is_noticed(copy: Path, tmp_path: Path) -> None:
    outgrown = tmp_path / "99-outgrown.patch"
    outgrown.write_text(
        "Bug: none.\nTests: tests/orders/test_gone.py\n\n--- a/src/souk/app.py\n+++ b/src/souk/app.py\n@@ -1 +1 @@\n-gone\n+new\n"
    )
    mutant = read_mutant(outgrown)
    assert "does not apply" in apply_patch(mutant, copy, "--check")
    assert find_missing_tests(mutant) == ["tests/orders/test_gone.py"]


def test_a_patch_without_headers_is_noticed(tmp_path: Path) -> None:
    bare = tmp_path / "99-bare.patch"
    bare.write_text("Bug: something.\n\n--- a/src/souk/app.py\n+++ b/src/souk/app.py\n")
    with pytest.raises(ValueError, match=r"99-bare\.patch"):
        read_mutant(bare)
