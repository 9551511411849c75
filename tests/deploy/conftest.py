"""Fixtures for tests of a shop in parts."""

from tests.engines.fixtures import own_broker

__all__ = ["own_broker"]
