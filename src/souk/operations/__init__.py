"""What the people who run the shop need: health, metrics, dead letters, jobs."""
