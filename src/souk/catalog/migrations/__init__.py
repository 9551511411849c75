"""Catalog's schema, forward only."""
