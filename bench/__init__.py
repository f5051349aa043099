"""Benchmarks: every claim of speed or memory, side by side with its alternative in one run."""
