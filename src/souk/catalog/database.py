"""Catalog's database."""

from souk.kit.db import Database

db = Database("catalog")
