"""The demo shop: a small marketplace, made by a generator, that shows everything Souk can do."""

from souk.demo.seeding import seed_demo

__all__ = ["seed_demo"]
