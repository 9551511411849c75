"""What the people who run the shop need: health, metrics, alerts, dead letters, jobs."""
