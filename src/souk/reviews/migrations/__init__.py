"""The schema of reviews, forward only."""
