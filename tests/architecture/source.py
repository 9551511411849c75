"""The source as the rules look at it: modules, what they import, their functions."""

import ast
from functools import cache
from pathlib import Path

import msgspec

from souk import app

ROOT = Path(__file__).parents[2] / "src"
EDGES = frozenset({"operations", "audit", "demo", "replay"})


class Module(msgspec.Struct, frozen=True):
    """A file of the source."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """souk.orders.placing"""
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    @property
    def package(self) -> str:
        """The context, edge or kit that it belongs to; empty for app.py and the commands."""
        parts = self.path.relative_to(ROOT).parts
        return parts[1] if len(parts) > 2 else ""

    @property
    def tree(self) -> ast.Module:
        return parse(self.text)

    @property
    def imports(self) -> tuple[str, ...]:
        """Every module of ours that it imports; `from souk.orders import placing` is souk.orders.placing."""
        found: list[str] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.extend(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found.extend(dict.fromkeys(name if is_module(name) else node.module for name in names))
        return tuple(name for name in found if name.partition(".")[0] == "souk")


@cache
def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@cache
def parse(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def read_source(root: Path = ROOT) -> tuple[Module, ...]:
    """Every module of the source."""
    return tuple(Module(path, path.read_text()) for path in sorted(root.glob("souk/**/*.py")))


def is_context(package: str) -> bool:
    return package in app.CONTEXTS


def assert_none(broken: list[str]) -> None:
    """Fail with every violation on a line of its own."""
    assert not broken, "\n" + "\n".join(broken)
