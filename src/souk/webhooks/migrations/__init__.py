"""The schema of webhooks, forward only."""
