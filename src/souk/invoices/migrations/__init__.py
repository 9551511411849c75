"""Invoices' schema, forward only."""
