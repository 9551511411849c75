"""The tables of notifications, and how they changed."""
