"""Pricing's schema, forward only."""
