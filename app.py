"""LPD Studio: the frame around the pages. `streamlit run app.py`, or `make app`.

Streamlit imports this file once to find `app`, the server with its guard, and then runs it for every visitor.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from lpd_core.errors import LpdError
from pages.components import guard, session
from pages.components.text import STYLE, plain
from pages.components.warm import warm

PAGES = {
    "": {"home": "Home"},
    "Run": {"launch": "Launch", "runs": "Runs", "data": "Data"},
    "Explore": {"trajectories": "Trajectories", "principles": "Principles"},
    "Decide": {
        "constitution": "Constitution",
        "compare": "Compare",
        "evaluate": "Evaluate",
        "playground": "Playground",
    },
}


def show() -> None:
    """The frame and the page that the address names, for one visitor."""
    st.set_page_config(page_title="LPD Studio", layout="wide", initial_sidebar_state="auto")
    st.html(STYLE)
    st.logo(str(Path(__file__).parent / "docs" / "logo.svg"), size="large")
    page = st.navigation(
        {
            section: [
                st.Page(f"pages/{name}.py", title=title, default=name == "home")
                for name, title in pages.items()
            ]
            for section, pages in PAGES.items()
        },
        expanded=True,
    )
    try:
        session.show_picker()
        page.run()
    except LpdError as problem:
        st.error(plain(problem))
    with st.sidebar:
        session.show_account()


if get_script_run_ctx() is None:
    # Else a server whose first visitor follows a link to a page would run that page without this frame around it.
    PagesManager.uses_pages_directory = False
    app = st.App(__file__, middleware=guard.middleware())
    warm()
else:
    show()
