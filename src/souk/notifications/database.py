"""The database of notifications."""

from souk.kit.db import Database

db = Database("notifications")
