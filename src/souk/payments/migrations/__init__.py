"""Payments' schema, forward only."""
