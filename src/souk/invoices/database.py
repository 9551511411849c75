"""Invoices' database."""

from souk.kit.db import Database

db = Database("invoices")
