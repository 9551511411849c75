"""Inventory's schema, forward only."""
