"""Carts' schema, forward only."""
