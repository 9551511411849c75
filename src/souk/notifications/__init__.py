"""Notifications knows what people are told, on which channel, what they want to hear of, and what became of each message."""
