"""The database of reviews."""

from souk.kit.db import Database

db = Database("reviews")
