"""LPD Studio: the frame around the pages. `streamlit run app.py`, or `make app`."""

from __future__ import annotations

import streamlit as st

from lpd_core.errors import LpdError
from pages.components import session
from pages.components.text import STYLE, plain

PAGES = {
    "": {"home": "Home"},
    "Run": {"launch": "Launch", "runs": "Runs", "data": "Data"},
    "Explore": {"trajectories": "Trajectories", "principles": "Principles"},
    "Decide": {"constitution": "Constitution", "compare": "Compare", "playground": "Playground"},
}

st.set_page_config(page_title="LPD Studio", layout="wide", initial_sidebar_state="auto")
st.html(STYLE)
st.logo("docs/logo.svg", size="large")
page = st.navigation(
    {
        section: [
            st.Page(f"pages/{name}.py", title=title, default=name == "home") for name, title in pages.items()
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
    if session.can_sign_in():
        signed_in = st.user.get("is_logged_in", False)
        st.button(
            "Sign out" if signed_in else "Sign in",
            on_click=st.logout if signed_in else st.login,
            type="tertiary",
        )
