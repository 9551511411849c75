"""The database of webhooks."""

from souk.kit.db import Database

db = Database("webhooks")
