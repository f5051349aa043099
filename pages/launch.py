"""What shall be run, and will it work? A form over every setting, checked while it is filled in."""

from __future__ import annotations

import streamlit as st

from lpd_core import jobs
from lpd_core.config import RunConfig, parse_config, to_toml
from lpd_core.errors import LpdError
from lpd_core.queue import Queue
from lpd_core.settings import command, groups, nest, problems, settings
from lpd_core.store import corpora, measured
from pages.components import choices, creation, inquiries, preflight, reads, session
from pages.components.cards import show_heading
from pages.components.fields import show_field
from pages.components.text import clip, plain, show_text

SHIPPED_MODEL = "data/demo/model"
FIRST_ROWS = (
    ("name", "seed", "review"),
    ("data.train", "data.dev", "data.test"),
    ("model.path", "m_step.learning_rate", "m_step.lora_rank"),
    ("iterations", "data.prompts_per_iteration", "e_step.n"),
)  # the settings that people turn first
LABELS = {
    "review": "Stop for my review",
    "data.train": "Data to mine",
    "data.dev": "Held out: dev",
    "data.test": "Held out: test",
    "model.path": "Model",
    "m_step.learning_rate": "Learning rate",
    "m_step.lora_rank": "LoRA rank (0: all weights)",
    "data.prompts_per_iteration": "Prompts per iteration",
    "e_step.n": "Principles per prompt (N)",
}
TITLES = {
    "data": "Data",
    "model": "Model",
    "sampler": "Sampler",
    "prompts": "Prompts",
    "scoring": "Scoring",
    "e_step": "E-step",
    "cluster": "Clustering",
    "m_step": "M-step",
    "evaluate": "Evaluation",
    "ray": "Ray cluster",
}
SOURCES = ("Preset", "Earlier run", "TOML")
COLUMNS = 3
PROBED = 8
PROBE_SECONDS = 1800.0


def show_start() -> None:
    """What the settings start from."""
    kind = choices.base()["kind"]
    at = {"preset": "Preset", "run": "Earlier run", "toml": "TOML"}[kind]
    with st.container(border=True):
        way = st.segmented_control("Start from", SOURCES, default=at, required=True, key="launch.way")
        {"Preset": show_presets, "Earlier run": show_runs, "TOML": show_toml}[way]()
        if choices.BEFORE in st.session_state:
            base = st.session_state[choices.BEFORE][0]
            st.button(
                f"Back to {plain(described(base['kind'], base['name']))} as it was",
                type="tertiary",
                on_click=choices.go_back,
                key="launch.back",
            )


def show_held() -> None:
    """Settings of a link that are not taken unread."""
    if not choices.held():
        return
    with st.container(border=True):
        st.warning(
            "The link to this page also sets what runs programs, sends keys or runs a model's code. Nothing of it is "
            "set yet; take it only if you know where the link comes from."
        )
        show_text("\n".join(f"{key} = {value!r}" for key, value in choices.held().items()), height="10rem")
        st.button("Set these too", on_click=choices.take_held, key="launch.held.take")


def described(kind: str, name: str) -> str:
    """What settings start from, in words."""
    if kind == "preset":
        return f"preset {name}" if name else "the defaults"
    return f"the settings of {name}" if kind == "run" else (name or "the pasted TOML")


def show_presets() -> None:
    """The shipped presets."""
    names = choices.preset_names()
    picked = choices.base()["name"] if choices.base()["kind"] == "preset" else None
    st.selectbox(
        "Preset",
        names,
        index=names.index(picked) if picked in names else None,
        format_func=lambda name: name or "none: every setting at its default",
        placeholder="Choose a preset",
        key=choices.drawn("preset"),
        on_change=load,
        args=("preset", choices.drawn("preset")),
    )


def show_runs() -> None:
    """The runs whose settings can be taken."""
    runs = reads.run_ids()
    if not runs:
        st.caption("There are no runs yet: start from a preset.")
        return
    names = reads.names()
    picked = choices.base()["name"] if choices.base()["kind"] == "run" else None
    st.selectbox(
        "Earlier run",
        runs,
        index=runs.index(picked) if picked in runs else None,
        format_func=lambda run: f"{run} ({clip(names.get(run, ''), 40)})",
        placeholder="Choose a run",
        key=choices.drawn("run"),
        on_change=load,
        args=("run", choices.drawn("run")),
    )


def load(kind: str, key: str) -> None:
    """Start from what a select box has picked."""
    name = st.session_state.get(key)
    if name is not None and choices.is_drawn(key):
        start(kind, name)


def start(kind: str, name: str, text: str = "") -> None:
    """Start from something; what is wrong with it is told on the page and the settings stay."""
    try:
        choices.start_from(kind, name, text)
        choices.write_address()
    except LpdError as problem:
        st.session_state["launch.problem"] = str(problem)


def show_toml() -> None:
    """A TOML file, or its text."""
    given = st.file_uploader("A TOML file", type="toml", key="launch.file", max_upload_size=1)
    pasted = st.text_area(
        "Or paste it", height=140, key="launch.pasted", placeholder='name = "mine"\niterations = 3'
    )
    if st.button("Load these settings", disabled=not (given or pasted.strip()), key="launch.load"):
        text = given.getvalue().decode("utf-8", "replace") if given else pasted
        start("toml", given.name if given else "", text)
        st.rerun()


def show_first(found: dict[str, str]) -> None:
    """The settings that people turn first."""
    sets = [row["name"] for row in reads.fetch(corpora.list_datasets)] if reads.has_store() else []
    models = reads.fetch(measured.models_used) if reads.has_store() else []
    options = {
        "model.path": [SHIPPED_MODEL, *(path for path in models if path != SHIPPED_MODEL)],
        **{f"data.{split}": list(dict.fromkeys(sets)) for split in ("train", "dev", "test")},
    }
    for row in FIRST_ROWS:
        for cell, key in zip(st.columns(len(row), vertical_alignment="bottom"), row, strict=True):
            with cell:
                show_field(key, found, LABELS.get(key, ""), options.get(key, ()))


def show_groups(found: dict[str, str]) -> None:
    """All other settings in folded groups; a group is drawn when it is opened."""
    st.subheader("All other settings", anchor=False)
    if choices.changed():
        base = choices.base()
        with st.container(horizontal=True, vertical_alignment="center"):
            names = ", ".join(f"`{key}`" for key in choices.changed())
            st.markdown(f"Changed from {plain(described(base['kind'], base['name']))}: {names}")
            st.button("Undo all changes", type="tertiary", on_click=choices.reset, key="launch.reset")
    first = {key for row in FIRST_ROWS for key in row}
    for group, about in groups().items():
        if not group or "." in group:
            continue
        keys = [key for key in settings() if key.startswith(f"{group}.") and key not in first]
        # The label stays as it is: Streamlit folds an expander whose label changes, also while someone types in it.
        title = TITLES.get(group, group.replace("_", " ").capitalize())
        folded = st.expander(title, key=f"launch.group.{group}", on_change="rerun")
        if folded.open:
            with folded:
                show_group(group, about, keys, found)


def show_group(group: str, about: str, keys: list[str], found: dict[str, str]) -> None:
    """The settings of a section, then those of the sections in it."""
    st.caption(plain(about))
    if group in found:
        st.error(plain(found[group]))
    for inner in (group, *(name for name in groups() if name.startswith(f"{group}."))):
        own = [key for key in keys if settings()[key].group == inner]
        if inner != group:
            st.markdown(f"**{inner.rpartition('.')[2].capitalize()}**: {plain(groups()[inner])}")
        wide = COLUMNS if inner == group else COLUMNS + 1
        for at in range(0, len(own), wide):
            cells = st.columns(wide)
            for cell, key in zip(cells, own[at : at + wide], strict=False):
                with cell:
                    show_field(key, found)


def show_checks(config: RunConfig) -> None:
    """Preflight and the start: asked of a process, shown when it answers. Not for visitors who may only look: the
    checks read files, ask servers and start interpreters that the settings name."""
    st.subheader("Before the first token", anchor=False)
    if not session.may_edit():
        st.info("Sign in at the foot of the sidebar to check these settings and to start a run.")
        return
    preflight.show_trust(config)
    files = {"run.toml": to_toml(config)}
    asked = inquiries.ask(
        "launch", ["check", "--config", "{run.toml}"], files=files, resident=creation.MEMORY
    )
    answer = asked.poll()
    if answer is None:
        inquiries.show_waiting(asked, "Checking the data, the model, the chats, memory and disk")
        return
    if answer.error:
        st.error(preflight.failure(answer.error))
        st.button("Check again", on_click=inquiries.forget, args=("launch",), key="launch.again")
        return
    findings, facts = answer.value["findings"], answer.value["facts"]
    preflight.show_findings(findings)
    preflight.show_facts(facts)
    if not preflight.show_time(facts.get("time")):
        show_probe(config)
    show_go(config, findings)
    st.subheader("What will be sent and trained", anchor=False)
    preflight.show_examples(facts)


def show_probe(config: RunConfig) -> None:
    """How to find out how long a run takes where no earlier run can tell: some prompts are timed."""
    session.require_edit()
    text = to_toml(config)
    if st.session_state.get("launch.timed") != text:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("How long it takes is not known: no earlier run used this model in this way here.")
            if st.button(f"Time it with {PROBED} prompts", key="launch.probe"):
                st.session_state["launch.timed"] = text
                st.rerun()
        return
    asked = inquiries.ask(
        "launch.probe",
        ["check", "--config", "{run.toml}", "--probe", str(PROBED)],
        seconds=PROBE_SECONDS,
        files={"run.toml": text},
    )
    answer = asked.poll()
    if answer is None:
        inquiries.show_waiting(
            asked, f"Sending {PROBED} prompts through one iteration; nothing of it is kept"
        )
        return
    problems = [f["what"] for f in (answer.value or {}).get("findings", ()) if f["level"] == "error"]
    if answer.error or problems:
        st.error(preflight.failure(answer.error or "; ".join(problems)))
    else:
        preflight.show_probed(answer.value["facts"]["probe"])


def show_go(config: RunConfig, findings: list[dict[str, str]]) -> None:
    """Start now or queue; with warnings it says so."""
    levels = {finding["level"] for finding in findings}
    stopped = "error" in levels
    label = "Start anyway" if "warning" in levels and not stopped else "Start the run"
    with st.container(horizontal=True):
        now = st.button(label, type="primary", disabled=stopped, key="launch.start")
        later = st.button("Add to the queue", disabled=stopped, key="launch.queue")
        st.button(
            "Check again", type="tertiary", on_click=inquiries.forget, args=("launch",), key="launch.again"
        )
    if stopped:
        st.caption("Mend the errors above; the checks run again with every change.")
    if now or later:
        create(config, queued=later)


def create(config: RunConfig, queued: bool) -> None:
    """Create the run and start or queue it; then to its page. What goes wrong is told here, and nothing is lost."""
    store = reads.store()
    try:
        session.require_edit()
        with st.spinner("Importing the prompts and creating the run"):
            folder = creation.create_run(config)
            if queued:
                Queue(store).add(folder.run_id)
            else:
                jobs.start(store, folder.run_id)
    except LpdError as problem:
        st.error(plain(problem))
        return
    inquiries.forget("launch")
    inquiries.forget("launch.probe")
    st.switch_page("pages/runs.py", query_params={"run": folder.run_id})


def show_command(config: RunConfig) -> None:
    """The same run from a terminal, and as a file."""
    st.subheader("The same from a terminal", anchor=False)
    base = choices.base()
    preset = base["name"] if base["kind"] == "preset" and base["name"] else None
    file = "run.toml"
    line = command(config, preset, file)
    st.code(line, language="bash", wrap_lines=True)
    if "--config" in line:
        st.caption(f"Save the TOML below as {file} first.")
    with st.expander("As TOML", key="launch.toml", on_change="rerun") as folded:
        if folded.open:
            st.download_button("Download", to_toml(config), file, key="launch.download", on_click="ignore")
            st.code(to_toml(config), language="toml", wrap_lines=True)


show_heading("Launch", "What shall be run, and will it work?")
unread = choices.take_address() or st.session_state.pop("launch.problem", "")
if unread:
    st.error(plain(unread, preflight.SAID))
show_start()
show_held()
wrong = problems(choices.values())
show_first(wrong)
show_groups(wrong)
if "" in wrong:
    st.error(plain(wrong[""]))
if wrong:
    st.subheader("Before the first token", anchor=False)
    count = "One setting is" if len(wrong) == 1 else f"{len(wrong)} settings are"
    st.error(f"{count} not allowed: {plain('; '.join(wrong.values()), preflight.SAID)}")
else:
    chosen = parse_config(nest(choices.values()))
    show_checks(chosen)
    show_command(chosen)
