"""Measurements of a whole shop on this machine: a real server, a real database, a lean load generator."""
