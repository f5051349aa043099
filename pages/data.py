"""Data."""

from pages.components.cards import show_heading

show_heading("Data", "")
