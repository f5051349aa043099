"""The pictures of an iteration's principles: map, dendrogram, keyword bars. Data in, plotly figures out.

Texts pass through `hover`, since plotly reads some HTML. What a point stands for is in its customdata: selection
indices count within a trace, and traces change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lpd_core.store.principles import Points
from lpd_core.tree import Crown
from pages.components.charts import styled
from pages.components.colours import UNCLUSTERED, of_cluster
from pages.components.text import hover

NAMED = 14
"""How many of the largest clusters have their name on the map."""
SPOKEN = 5_000
"""Up to so many points have their cluster's label in the hover box; more would make the page heavy."""
LABELLED_BRANCHES = 45
"""Up to so many branches have a label on the axis of the dendrogram."""
FADED = 0.13
ACCENT, QUIET = "#1f6f78", "#a9a49a"


def map_chart(
    points: Points, labels: Mapping[str, str], lit: np.ndarray | None, mode: str, revision: str
) -> go.Figure:
    """The map: a point a principle, coloured by cluster, its area growing with its trajectories.

    `lit` [n] tells which points are not faded; customdata is a point's position. `mode` is plotly's dragmode;
    another `revision` forgets zoom and lasso."""
    figure = go.Figure()
    if lit is None or lit.all():
        _add_points(figure, points, labels, np.arange(len(points.x)), 1.0)
    else:
        _add_points(figure, points, labels, np.flatnonzero(~lit), FADED)
        _add_points(figure, points, labels, np.flatnonzero(lit), 1.0)
    _name_largest(figure, points, labels)
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "title": None}
    return styled(
        figure,
        height=470,
        dragmode=mode,
        uirevision=revision,
        showlegend=False,
        xaxis=bare,
        yaxis=bare,
        hovermode="closest",
    )


def _add_points(
    figure: go.Figure, points: Points, labels: Mapping[str, str], rows: np.ndarray, opacity: float
) -> None:
    few = len(points.x) <= SPOKEN
    names = np.array([_cluster_name(each, labels if few else {}) for each in points.clusters] or [""])
    numbers = points.cluster[rows]
    counts = points.count[rows]
    # Numbers and arrays, since plotly checks colours and texts in lists one by one, half a second for 30,000.
    told = zip(points.text[rows].tolist(), names[numbers].tolist(), counts.tolist(), strict=True)
    figure.add_scattergl(
        x=points.x[rows].astype(np.float32),
        y=points.y[rows].astype(np.float32),
        mode="markers",
        marker={
            "color": (numbers + 0.5).astype(np.float32),
            "colorscale": _steps([of_cluster(cluster) for cluster in points.clusters]),
            "cmin": 0,
            "cmax": max(1, len(points.clusters)),
            "size": sizes(counts, len(points.x)),
            "opacity": opacity,
            "line": {"width": 0},
        },
        customdata=points.position[rows],
        text=np.array(
            [
                f"{hover(text, 90 if few else 60)}<br>{name}, {count:,} trajectories"
                for text, name, count in told
            ],
            dtype=object,
        ),
        hovertemplate="%{text}<extra></extra>",
        unselected={"marker": {"opacity": FADED}},
    )


def _steps(colours: Sequence[str]) -> list[tuple[float, str]]:
    """A colour scale that shows colour n for all values from n to n + 1."""
    edges = np.linspace(0.0, 1.0, max(1, len(colours)) + 1).tolist()
    shown = colours or [UNCLUSTERED]
    return [step for n, colour in enumerate(shown) for step in ((edges[n], colour), (edges[n + 1], colour))]


def _cluster_name(cluster: str, labels: Mapping[str, str]) -> str:
    if not cluster:
        return "unclustered"
    return f"{cluster}: {hover(labels[cluster], 40)}" if cluster in labels else cluster


def sizes(counts: np.ndarray, drawn: int) -> np.ndarray:
    """Diameters in pixels: the area grows with the count; smaller where many points are drawn."""
    unit, least = (5.0, 7.0) if drawn <= 500 else (3.0, 4.0) if drawn <= 5000 else (1.8, 3.0)
    return np.round(np.clip(unit * np.sqrt(counts), least, 30.0), 1)


def _name_largest(figure: go.Figure, points: Points, labels: Mapping[str, str]) -> None:
    """Write the names of the largest clusters at their medians, leaving out those that would overlap."""
    if not len(points.x):
        return
    wide, high = (max(float(np.ptp(axis)), 1e-9) for axis in (points.x, points.y))
    weights = np.bincount(points.cluster, weights=points.count, minlength=len(points.clusters))
    taken: list[tuple[float, float]] = []
    for number in np.argsort(-weights, kind="stable")[: 3 * NAMED]:
        cluster = points.clusters[number]
        if not cluster or len(taken) == NAMED:
            continue
        own = points.cluster == number
        x, y = float(np.median(points.x[own])), float(np.quantile(points.y[own], 0.95))
        if all(abs(x - a) > 0.32 * wide or abs(y - b) > 0.05 * high for a, b in taken):
            taken.append((x, y))
            figure.add_annotation(
                x=x,
                y=y,
                text=hover(labels.get(cluster, cluster), 30),
                showarrow=False,
                yshift=14,
                font_size=11,
            )


def dendrogram_chart(
    top: Crown, names: Sequence[str], colours: Sequence[str], threshold: float, cut: float | None
) -> go.Figure:
    """The branches [m] with their names and colours, joined at their cosine distances; joins within the threshold
    in the accent's colour. `cut` is where the clusters of today were cut, None where they come from elsewhere.

    A branch's customdata is its number."""
    figure = go.Figure()
    made = top.joins[:, 4] <= threshold
    for rows, colour, what in ((made, ACCENT, "joined"), (~made, QUIET, "kept apart")):
        x, y = _brackets(top.joins[rows])
        figure.add_scatter(
            x=x, y=y, mode="lines", line={"color": colour, "width": 1.4}, name=what, hoverinfo="skip"
        )
    shown = [hover(name, 110) for name in names]
    figure.add_scatter(
        x=np.zeros(top.branches),
        y=np.arange(top.branches),
        mode="markers",
        marker={"color": list(colours), "size": 9},
        customdata=np.arange(top.branches),
        text=shown,
        hovertemplate="%{text}<extra></extra>",
        name="branch",
        cliponaxis=False,
        showlegend=False,
    )
    figure.add_vline(x=threshold, line={"color": ACCENT, "width": 2})
    if cut is not None:
        figure.add_vline(x=cut, line={"color": QUIET, "width": 1.5, "dash": "dot"})
    few = top.branches <= LABELLED_BRANCHES
    return styled(
        figure,
        height=max(220, 90 + (19 * top.branches if few else 470)),
        xaxis={"title": "cosine distance at which branches join", "zeroline": False},
        yaxis={
            "tickvals": list(range(top.branches)) if few else [],
            "ticktext": [hover(name, 46) for name in names] if few else [],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            "autorange": "reversed",
        },
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        dragmode="pan",
    )


def _brackets(joins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lines of some joins, one bracket each, NaN between them."""
    gap = np.full(len(joins), np.nan)
    left, low, right, high, at = joins[:, :5].T
    x = np.stack([low, at, at, high, gap], axis=1).ravel()
    y = np.stack([left, left, right, right, gap], axis=1).ravel()
    return x, y


def keyword_chart(
    shares: Mapping[str, Sequence[tuple[str, float]]], labels: Mapping[str, str], columns: int = 3
) -> go.Figure:
    """Bars of each cluster's keywords, most telling at the top, as long as the share of its trajectories whose
    principle says the word. A bar's customdata is its cluster."""
    clusters = [cluster for cluster, words in shares.items() if words]
    if not clusters:
        return styled(go.Figure(), height=120)
    rows = -(-len(clusters) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[f"{cluster}: {hover(labels.get(cluster, ''), 34)}" for cluster in clusters],
        horizontal_spacing=0.12,
        vertical_spacing=min(0.16, 0.5 / rows),
    )
    for place, cluster in enumerate(clusters):
        words = list(shares[cluster])[::-1]
        figure.add_bar(
            x=[100 * share for _, share in words],
            y=[hover(word, 18) for word, _ in words],
            orientation="h",
            marker_color=of_cluster(cluster),
            customdata=[cluster] * len(words),
            hovertemplate="%{y}: %{x:.0f} % of the trajectories<extra></extra>",
            row=place // columns + 1,
            col=place % columns + 1,
        )
    figure.update_annotations(font_size=12)
    styled(
        figure,
        height=60 + 175 * rows,
        showlegend=False,
        bargap=0.25,
        margin={"l": 8, "r": 8, "t": 34, "b": 8},
    )
    figure.update_yaxes(automargin=True, fixedrange=True)
    return figure.update_xaxes(range=[0, 100], ticksuffix=" %", fixedrange=True, nticks=3)


def branch_colours(
    branch: np.ndarray, cluster: np.ndarray, clusters: Sequence[str], branches: int
) -> tuple[list[str], list[tuple[str, ...]]]:
    """For each branch the colour of its cluster, grey where it has several, and the clusters in it."""
    pairs = np.unique(np.stack([branch, cluster], axis=1), axis=0) if len(branch) else np.zeros((0, 2), int)
    held: list[list[str]] = [[] for _ in range(branches)]
    for number, position in pairs:
        held[number].append(clusters[position])
    colours = [of_cluster(each[0]) if len(each) == 1 else UNCLUSTERED for each in held]
    return colours, [tuple(each) for each in held]


def lit_points(points: Points, clusters: Collection[str], positions: Collection[int]) -> np.ndarray | None:
    """Which points [n] a selection of clusters or positions lights up; None where nothing is selected."""
    if not clusters and not positions:
        return None
    chosen = [number for number, cluster in enumerate(points.clusters) if cluster in set(clusters)]
    return np.isin(points.cluster, chosen) | np.isin(points.position, list(positions))
