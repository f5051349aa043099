"""How a chart stands on a page: one look, a text for those who cannot see it, PNG, SVG and CSV to take away."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

MARGIN = {"l": 8, "r": 8, "t": 28, "b": 8}


def styled(figure: go.Figure, height: int = 340, **layout: Any) -> go.Figure:
    """The figure with our margins and a legend that does not cover the data."""
    figure.update_layout(
        height=height,
        margin=MARGIN,
        legend={"orientation": "h", "y": -0.18, "x": 0},
        hoverlabel={"align": "left"},
        xaxis={"automargin": True},
        yaxis={"automargin": True},
    )
    return figure.update_layout(**layout)


def show_chart(
    figure: go.Figure, rows: Sequence[Mapping[str, Any]], key: str, alt: str, select: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Draw a figure with its data to download; returns what is selected, `{}` unless `select` names modes
    (points, box, lasso)."""
    chosen = st.session_state.get(f"{key}.format", "PNG")
    config = {
        "displaylogo": False,
        "toImageButtonOptions": {"format": chosen.lower(), "filename": key, "scale": 2},
    }
    options: dict[str, Any] = {"on_select": "rerun", "selection_mode": tuple(select)} if select else {}
    event = st.plotly_chart(figure, key=key, config=config, alt=alt, **options)
    with st.popover("Download", type="tertiary", key=f"{key}.download"):
        st.segmented_control(
            "The camera above the chart saves",
            ["PNG", "SVG"],
            default="PNG",
            required=True,
            key=f"{key}.format",
        )
        st.download_button(
            "CSV",
            data=lambda: as_csv(rows),
            file_name=f"{key}.csv",
            mime="text/csv",
            key=f"{key}.csv",
            on_click="ignore",
        )
    return event["selection"] if select and event else {}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header. A cell that a spreadsheet would take for a formula gets an apostrophe."""
    out = io.StringIO()
    if rows:
        writer = csv.writer(out)
        writer.writerow(list(rows[0]))
        writer.writerows([[_cell(value) for value in row.values()] for row in rows])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
