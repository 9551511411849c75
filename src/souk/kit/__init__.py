"""What contexts share, without one business word: calls, database, events, HTTP, settings, money, tokens."""
