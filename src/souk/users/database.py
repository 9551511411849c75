"""The database of users."""

from souk.kit.db import Database

db = Database("users")
