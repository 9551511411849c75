"""Swagger UI, as its npm package has it."""
