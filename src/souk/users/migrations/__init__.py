"""The schema of users, forward only."""
