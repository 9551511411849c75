"""The demo shop: a small marketplace, made by a generator, that shows everything Souk can do."""
