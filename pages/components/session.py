"""What this browser tab looks at: the picked run and iteration, and what a page keeps in its address.

Everything worth sharing stands in the URL, so that each view has a link that reopens it; the rest lives in
`st.session_state` under keys that begin with the page's name.
"""

from __future__ import annotations

import getpass
import os
from typing import Any

import streamlit as st

from lpd_core.errors import UserError
from pages.components import guard, reads
from pages.components.text import clip, plain

RUN, ITERATION = "shared.run", "shared.iteration"


def run_id() -> str | None:
    """The picked run; None where there are no runs."""
    return st.session_state.get(RUN)


def iteration() -> int | None:
    """The picked iteration of the picked run (0 is the base model); None before its first stage."""
    return st.session_state.get(ITERATION)


def show_picker() -> None:
    """The run and iteration pickers in the sidebar; what the address names goes first."""
    runs = reads.run_ids()
    _take_address(runs)
    with st.sidebar:
        if not runs:
            st.caption("No runs yet. Home starts one.")
            return
        names = reads.names()
        st.selectbox(
            "Run",
            runs,
            index=runs.index(st.session_state[RUN]),
            format_func=lambda run: _run_label(run, names),
            key="picker.run",
            on_change=_pick_run,
        )
        known = [row["iteration"] for row in reads.iterations(st.session_state[RUN])]
        if known:
            if st.session_state.get(ITERATION) not in known:
                st.session_state[ITERATION] = known[-1]
            st.selectbox(
                "Iteration",
                known,
                index=known.index(st.session_state[ITERATION]),
                format_func=lambda t: "0 (base model)" if t == 0 else str(t),
                key=f"picker.iteration.{st.session_state[RUN]}",
                on_change=_pick_iteration,
            )
        else:
            st.session_state[ITERATION] = None
    _write_address()


def _run_label(run: str, names: dict[str, str]) -> str:
    name = names.get(run, "")
    return f"{run} ({clip(name, 24)})" if name and not run.startswith(name.lower()) else run


def _take_address(runs: list[str]) -> None:
    """Follow the address when it names a run; a widget's own change wins, since it wrote the address too."""
    asked = st.query_params.get("run")
    if asked in runs:
        if asked != st.session_state.get(RUN):
            st.session_state[RUN] = asked
            st.session_state.pop("picker.run", None)
            st.session_state[ITERATION] = None
    elif st.session_state.get(RUN) not in runs:
        st.session_state[RUN] = runs[0] if runs else None
        st.session_state.pop("picker.run", None)
    if asked and asked not in runs:
        st.toast(f"There is no run of that id here; showing {plain(runs[0]) if runs else 'none'}.")
    number = st.query_params.get("iteration", "")
    if number.isdecimal() and int(number) != st.session_state.get(ITERATION):
        st.session_state[ITERATION] = int(number)
        st.session_state.pop(f"picker.iteration.{st.session_state.get(RUN)}", None)


def pick(run: str | None) -> None:
    """Pick a run for all pages, from a callback or before `st.rerun()`; None lets go of the one that is picked."""
    st.query_params.clear()
    if run is None:
        st.session_state.pop(RUN, None)
        st.session_state.pop("picker.run", None)
    else:
        st.query_params["run"] = run


def _pick_run() -> None:
    st.session_state[RUN] = st.session_state["picker.run"]
    st.session_state[ITERATION] = None
    st.query_params.clear()
    st.query_params["run"] = st.session_state[RUN]


def _pick_iteration() -> None:
    st.session_state[ITERATION] = st.session_state[f"picker.iteration.{st.session_state[RUN]}"]
    st.query_params["iteration"] = str(st.session_state[ITERATION])


def _write_address() -> None:
    wanted = {"run": st.session_state[RUN], "iteration": st.session_state.get(ITERATION)}
    for name, value in wanted.items():
        if value is not None and st.query_params.get(name) != str(value):
            st.query_params[name] = str(value)


def param(name: str, default: str = "") -> str:
    """A page's own value in the address."""
    return st.query_params.get(name, default)


def set_param(name: str, value: object | None) -> None:
    """Keep a page's value in the address; None or an empty text takes it out."""
    if value is None or value == "":
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != str(value):
        st.query_params[name] = str(value)


def address(**extra: Any) -> dict[str, str]:
    """The query parameters of a link that keeps the picked run and iteration, and adds or replaces some."""
    values = {"run": run_id(), "iteration": iteration(), **extra}
    return {name: str(value) for name, value in values.items() if value is not None and value != ""}


def author() -> str:
    """Who edits: the account signed in, else the one that the server runs under."""
    if _signed_in():
        return str(st.user.get("email") or st.user.get("name") or "signed in")
    return os.environ.get("LPD_AUTHOR") or getpass.getuser()


def may_edit() -> bool:
    """Whether this visitor may start runs and edit: everybody where no login is configured."""
    return _signed_in() or not (guard.has_login() or guard.is_set("LPD_EDIT_NEEDS_LOGIN"))


def require_edit() -> None:
    """Raises `UserError` for a visitor who may only look; called by whatever changes something."""
    if not may_edit():
        raise UserError("starting runs or editing needs a login here; sign in at the foot of the sidebar")


def show_account() -> None:
    """The way in and out, where a provider is configured (`[auth]` in .streamlit/secrets.toml)."""
    if guard.has_login():
        label, act = ("Sign out", st.logout) if _signed_in() else ("Sign in", sign_in)
        st.button(label, on_click=act, type="tertiary", key="shared.account")


def sign_in() -> None:
    """Go to the provider."""
    name = guard.provider()
    st.login() if name == "default" else st.login(name)


def _signed_in() -> bool:
    return bool(st.user.get("is_logged_in", False)) and guard.is_allowed(str(st.user.get("email") or ""))
