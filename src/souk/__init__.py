"""Souk: a self-hosted, headless commerce platform for marketplaces."""
