"""The world outside the shop, faked once, bad habits and all: a card processor and a third party's payment app."""

from souk.sandbox.serve import create_app, run
from souk.sandbox.settings import SandboxSettings

__all__ = ["SandboxSettings", "create_app", "run"]
