"""Constitutions across iterations: which entry continues which, as rows for a table and as an alluvial chart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import plotly.graph_objects as go

from lpd_core.constitution import Lineage
from pages.components.charts import styled
from pages.components.colours import UNCLUSTERED, of_cluster
from pages.components.text import hover

DRAWN = 24
"""So many entries of an iteration are drawn; the others are drawn as one."""
FATES = ("born", "kept", "merged", "split", "died")
FOLDED, NEW, GONE = "\0others", "\0new", "\0gone"
Key = tuple[int, str]
"""An iteration, and an entry in it or one of the three above."""


def fate_rows(lineages: Mapping[int, Lineage]) -> list[dict[str, Any]]:
    """Every entry of every iteration with how it came (born, kept, merged, split) and from which, and those of the
    iteration before that died; by iteration, the heaviest first."""
    rows = []
    for t, lineage in sorted(lineages.items()):
        sources: dict[str, list[str]] = defaultdict(list)
        for link in lineage.links:
            if link.decisive:
                sources[link.target].append(link.source)
        for node in sorted(lineage.nodes, key=lambda node: -node.trajectories):
            if node.side == "current" or node.fate == "died":
                rows.append(
                    {
                        "iteration": t,
                        "entry": node.entry_id,
                        "fate": node.fate,
                        "trajectories": node.trajectories,
                        "principle": node.label,
                        "continues": ", ".join(sources[node.entry_id]),
                    }
                )
    return rows


def fate_counts(lineages: Mapping[int, Lineage]) -> list[dict[str, int]]:
    """How many entries of each iteration were born, kept, merged, split, and how many of the one before died."""
    counted = []
    for t, lineage in sorted(lineages.items()):
        row = {"iteration": t, **dict.fromkeys(FATES, 0)}
        for node in lineage.nodes:
            if node.side == "current" or node.fate == "died":
                row[node.fate] += 1
        counted.append(row)
    return counted


def related(lineages: Mapping[int, Lineage], chosen: Collection[Key]) -> set[Key]:
    """Some entries with all that they continue and all that continues them, by decisive links."""
    back: dict[Key, list[Key]] = defaultdict(list)
    forth: dict[Key, list[Key]] = defaultdict(list)
    for t, lineage in lineages.items():
        for link in lineage.links:
            if link.decisive:
                back[t, link.target].append((t - 1, link.source))
                forth[t - 1, link.source].append((t, link.target))
    found = set(chosen)
    for steps in (back, forth):
        waiting = list(chosen)
        while waiting:
            fresh = [each for each in steps[waiting.pop()] if each not in found]
            found.update(fresh)
            waiting += fresh
    return found


def lineage_chart(
    lineages: Mapping[int, Lineage], chosen: Collection[Key] = (), most: int = DRAWN
) -> go.Figure:
    """The alluvial: a column an iteration, a bar an entry, flows as wide as the trajectories that go on. Flows from
    `new` were born there, those to `gone` died. With entries chosen, flows between others fade."""
    if not lineages:
        return styled(go.Figure(), height=120)
    shown, names, totals = _columns(lineages, chosen, most)
    flows = _flows(lineages, shown)
    keys = sorted({key for pair in flows for key in pair})
    number = {key: n for n, key in enumerate(keys)}
    lit = [not chosen or all(end in chosen or end[1] in (NEW, GONE) for end in pair) for pair in flows]
    figure = go.Figure(
        go.Sankey(
            arrangement="snap",
            node={
                "label": [_label(key, names, totals) for key in keys],
                "color": [_colour(key) for key in keys],
                "x": _across(keys, lineages),
                "y": _down(keys, flows),
                "pad": 8,
                "thickness": 12,
                "line": {"width": 0},
                "hovertemplate": "%{label}<br>%{value:,.0f} trajectories<extra></extra>",
            },
            link={
                "source": [number[source] for source, _ in flows],
                "target": [number[target] for _, target in flows],
                "value": [max(weight, 0.2) for weight in flows.values()],
                "color": [
                    _transparent(_colour(source if source[1] != NEW else target), 0.42 if on else 0.07)
                    for (source, target), on in zip(flows, lit, strict=True)
                ],
                "hovertemplate": "%{source.label} to %{target.label}<br>%{value:,.0f} trajectories<extra></extra>",
            },
            textfont={"size": 11},
        )
    )
    tallest = max(sum(1 for key in keys if key[0] == t) for t in {key[0] for key in keys})
    return styled(
        figure, height=max(260, min(760, 60 + 28 * tallest)), margin={"l": 8, "r": 8, "t": 8, "b": 12}
    )


def _columns(
    lineages: Mapping[int, Lineage], chosen: Collection[Key], most: int
) -> tuple[dict[int, set[str]], dict[Key, str], dict[Key, int]]:
    """The entries drawn by iteration (the chosen ones first, then the heaviest), names, counts of folded ones."""
    nodes: dict[Key, Any] = {}
    for t, lineage in lineages.items():
        for node in lineage.nodes:
            nodes.setdefault((t if node.side == "current" else t - 1, node.entry_id), node)
    shown: dict[int, set[str]] = {}
    folded: dict[Key, int] = defaultdict(int)
    for t in sorted({key[0] for key in nodes}):
        own = [key for key in nodes if key[0] == t]
        own.sort(key=lambda key: (key not in chosen, -nodes[key].trajectories, key[1]))
        shown[t] = {entry for _, entry in own[:most]}
        folded[t, FOLDED] = len(own) - len(shown[t])
    return shown, {key: node.label for key, node in nodes.items()}, folded


def _flows(
    lineages: Mapping[int, Lineage], shown: Mapping[int, Collection[str]]
) -> dict[tuple[Key, Key], int]:
    """Trajectories by flow, those of folded entries added up; what begins comes from `new`, what ends goes to
    `gone`."""
    flows: dict[tuple[Key, Key], int] = defaultdict(int)

    def place(t: int, entry: str) -> Key:
        return t, entry if entry in shown.get(t, ()) else FOLDED

    first = min(lineages) if len(lineages) > 1 else -1  # what is new in a first column is all of it
    for t, lineage in sorted(lineages.items()):
        came, went = {link.target for link in lineage.links}, {link.source for link in lineage.links}
        for link in lineage.links:
            flows[place(t - 1, link.source), place(t, link.target)] += link.weight
        for node in lineage.nodes:
            if node.side == "current" and node.entry_id not in came and t != first:
                flows[(t - 1, NEW), place(t, node.entry_id)] += node.trajectories
            elif node.side == "previous" and node.entry_id not in went:
                flows[place(t - 1, node.entry_id), (t, GONE)] += node.trajectories
    return dict(flows)


def _label(key: Key, names: Mapping[Key, str], folded: Mapping[Key, int]) -> str:
    t, entry = key
    if entry == NEW:
        return f"new in iteration {t + 1}"
    if entry == GONE:
        return f"gone after iteration {t - 1}"
    return f"{folded[key]:,} others" if entry == FOLDED else f"{entry}: {hover(names.get(key, ''), 26)}"


def _colour(key: Key) -> str:
    return UNCLUSTERED if key[1] in (FOLDED, NEW, GONE) else of_cluster(key[1])


def _transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _across(keys: list[Key], lineages: Mapping[int, Lineage]) -> list[float]:
    first, last = min(lineages) - 1, max(lineages)
    if not any(t == first for t, _ in keys):
        first += 1
    return [min(0.999, max(0.001, (t - first) / max(1, last - first))) for t, _ in keys]


def _down(keys: list[Key], flows: Mapping[tuple[Key, Key], int]) -> list[float]:
    """Heights from 0 to 1 within a column: the heaviest at the top, `new`, `gone` and the others at the foot."""
    weight: dict[Key, float] = defaultdict(float)
    for side in (0, 1):
        sums: dict[Key, float] = defaultdict(float)
        for pair, value in flows.items():
            sums[pair[side]] += max(value, 0.2)
        for key, value in sums.items():
            weight[key] = max(weight[key], value)
    places: dict[Key, float] = {}
    for t in {key[0] for key in keys}:
        own = sorted(
            (key for key in keys if key[0] == t), key=lambda key: (key[1].startswith("\0"), -weight[key])
        )
        total, above = sum(weight[key] for key in own) or 1.0, 0.0
        for key in own:
            places[key] = min(0.999, max(0.001, (above + weight[key] / 2) / total))
            above += weight[key]
    return [places[key] for key in keys]
