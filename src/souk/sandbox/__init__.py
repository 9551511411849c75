"""The world outside the shop, faked once, bad habits and all: a card processor, a payment app, a bank, a carrier and the post."""

from souk.sandbox.serve import create_app, run
from souk.sandbox.settings import SandboxSettings

__all__ = ["SandboxSettings", "create_app", "run"]
