"""Shipping's schema, forward only."""
