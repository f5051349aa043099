"""Samplers: one module a backend, each importing its library inside the function that needs it."""
