"""What is selected on the Principles page: one selection, shared by its map, tables and charts.

A widget's own selection is taken over when it differs from what it was after its last drawing; everything else is
then drawn from the shared one. Clusters stand in the address, single principles live in the session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lpd_core.store.principles import Scope
from pages.components import session

STATE, REVISION, SEEN = "principles.selection", "principles.revision", "principles.seen"
IN_ADDRESS = 20
"""So many cluster ids at most stand in the address."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Some clusters, or some principles by position on the map; `source` is the widget they were selected in."""

    clusters: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()
    source: str = ""

    def __bool__(self) -> bool:
        return bool(self.clusters or self.positions)

    def scope(self, text: str = "") -> Scope:
        """The principles meant, of those that contain a text; all where nothing is selected."""
        return Scope(self.clusters or None, self.positions or None, text)


@dataclass(frozen=True, slots=True)
class Looking:
    """What the page looks at: a run's iteration, the embedder of its principles, the labels of its clusters, what
    is selected and the text that principles have to contain."""

    run: str
    iteration: int
    embedder: str
    labels: Mapping[str, str]
    selected: Selection
    text: str = ""

    @property
    def place(self) -> tuple[str, int]:
        """The run and the iteration."""
        return self.run, self.iteration

    @property
    def key(self) -> tuple[str, int, str]:
        """What most reads of principles begin with."""
        return self.run, self.iteration, self.embedder


def current(place: tuple[str, int], known: Collection[str]) -> Selection:
    """The selection on an iteration (run, number): the address's clusters where they are new, else the session's.
    Clusters that the iteration does not have are left out."""
    asked, written = session.param("clusters"), st.session_state.get("principles.written", "")
    if asked and asked != written:
        found = Selection(tuple(each for each in asked.split(",") if each in known), (), "address")
        choose(place, found)
    at, selected = st.session_state.get(STATE, (place, Selection()))
    if at != place:
        selected = Selection()
        choose(place, selected)
    _write_address(selected)
    return selected


def choose(place: tuple[str, int], selected: Selection) -> None:
    """Make a selection the one that counts; the widgets that it did not come from forget theirs."""
    st.session_state[STATE] = (place, selected)
    st.session_state[REVISION] = revision = st.session_state.get(REVISION, 0) + 1
    for widget in ("map", "table", "branches", "keywords"):
        if widget != selected.source:
            st.session_state[f"{REVISION}.{widget}"] = revision
    _write_address(selected)


def clear(place: tuple[str, int]) -> None:
    """Select nothing."""
    choose(place, Selection())


def _write_address(selected: Selection) -> None:
    few = ",".join(selected.clusters) if len(selected.clusters) <= IN_ADDRESS else ""
    st.session_state["principles.written"] = few
    session.set_param("clusters", few)


def revision(widget: str) -> int:
    """Changes whenever a widget has to forget its own selection."""
    return st.session_state.get(f"{REVISION}.{widget}", 0)


def widget_key(widget: str) -> str:
    """The key of a widget that is made anew when it has to forget its selection."""
    return f"principles.{widget}.{revision(widget)}"


def taken(key: str) -> Mapping[str, Any] | None:
    """What a person has selected in a widget since it was last drawn; None where nothing changed."""
    state = st.session_state.get(key)
    found = _plain(state["selection"]) if state else None
    seen = st.session_state.get(SEEN, {}).get(key)
    return found if found is not None and found != seen else None


def has_points(key: str) -> bool:
    """Whether a chart holds a selection of its own."""
    state = st.session_state.get(key)
    return bool(state and state["selection"].get("points"))


def keep_seen(key: str, meaning: Any = None) -> None:
    """Remember a widget's selection as it is after drawing, and what its rows mean."""
    state = st.session_state.get(key)
    seen = st.session_state.setdefault(SEEN, {})
    seen[key] = _plain(state["selection"]) if state else {"points": [], "rows": []}
    st.session_state["principles.meaning"] = {**st.session_state.get("principles.meaning", {}), key: meaning}


def meaning(key: str) -> Any:
    """What a widget's rows stood for when it was last drawn."""
    return st.session_state.get("principles.meaning", {}).get(key)


def _plain(selection: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        "points": [_custom(point) for point in selection.get("points", ())],
        "rows": list(selection.get("rows", ())),
    }


def _custom(point: Mapping[str, Any]) -> Any:
    """A point's customdata, which comes back as a scalar, a list of one or a mapping of one."""
    value = point.get("customdata")
    if isinstance(value, Mapping):
        return next(iter(value.values()), None)
    return value[0] if isinstance(value, list | tuple) else value


def take_widgets(place: tuple[str, int]) -> None:
    """Take over what was just selected in the map, the cluster table, the branches or the keyword bars."""
    for widget in ("map", "table", "branches", "keywords"):
        key = "principles.map" if widget == "map" else widget_key(widget)
        found = taken(key)
        if found is None:
            continue
        st.session_state.setdefault(SEEN, {})[key] = found
        selected = _selected(widget, key, found)
        before = st.session_state.get(STATE, (place, Selection()))[1]
        if selected or before.source == widget:
            choose(place, selected)
            return


def _selected(widget: str, key: str, found: Mapping[str, list[Any]]) -> Selection:
    if widget == "map":
        return Selection((), _unique(int(each) for each in found["points"] if each is not None), "map")
    if widget == "table":
        ids = meaning(key) or ()
        return Selection(_unique(ids[row] for row in found["rows"] if row < len(ids)), (), "table")
    if widget == "branches":
        held = meaning(key) or ()
        return Selection(
            _unique(each for number in found["points"] if number is not None for each in held[int(number)]),
            (),
            widget,
        )
    return Selection(_unique(str(each) for each in found["points"] if each), (), widget)


def _unique(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))
