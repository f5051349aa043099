"""Colours: one for each cluster, the same on every page; one for each status, run and system."""

from __future__ import annotations

import colorsys
import re
import zlib

UNCLUSTERED = "#9a968e"
STATUS = {
    "accepted": "#2f855a",
    "not_best": "#8fb98a",
    "no_gain": "#c2a15a",
    "skipped_good_draft": "#b9b29f",
    "empty": "#b0455a",
    "too_long": "#c2703d",
    "leaks_gold": "#8c3f6e",
    "unparsable": "#7d5a8a",
    "unscored": "#8a8f98",
    "failed": "#9b2c2c",
}
"""A colour for each of the closed list of what became of a candidate."""
SERIES = (
    "#1f6f78",
    "#c2703d",
    "#6a5d94",
    "#5f8a3a",
    "#b0455a",
    "#8a7430",
    "#3f6fb0",
    "#8c5a3c",
    "#4f8f7f",
    "#9a4f8c",
)
"""Colours of lines and bars in order, those of the theme."""
GOLDEN_ANGLE = 137.508


def of_cluster(cluster_id: str) -> str:
    """The colour of a cluster or entry by its id, as #rrggbb; the unclustered (an empty id) are grey.

    Numbers that follow each other lie a golden angle apart on the colour wheel."""
    if not cluster_id:
        return UNCLUSTERED
    numbers = [int(part) for part in re.findall(r"\d+", cluster_id)[:2]]
    place = numbers[-1] + 7 * numbers[0] if numbers else zlib.crc32(cluster_id.encode())
    hue = (place * GOLDEN_ANGLE + (60 if cluster_id.startswith("e") else 0)) % 360 / 360
    lightness = (0.42, 0.52, 0.6)[place % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def of_series(position: int) -> str:
    """The colour of the n-th line, bar or run."""
    return SERIES[position % len(SERIES)]
