"""Orders' schema, forward only."""
