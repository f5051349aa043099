"""A home in which every text that comes from a file, a model or a person tries to be more than text.

`hostile` sets it as `$LPD_HOME`: a scripted run that has learnt one iteration and waits for the review of the second,
whose constitution was edited. `dangers(app)` lists whatever on a page would be read as markup.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

LIVE = (
    "![pixel](https://evil.example/p.png)",
    "[click me](javascript:alert(1))",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    ":red[colour]",
    "$\\frac{1}{2}$",
)
"""What Markdown or HTML would act on."""
ODD = (
    "'; drop table candidates; --",
    "zero\x00byte",
    "\u202eright to left\u202c",
    "سلام עולם",
    "🙂👩‍👩‍👧",
    "\u001b[31mred",
    '=HYPERLINK("https://evil.example")',
    "<br><b>bold</b>",
)
"""What breaks a query, a cell, a layout."""
PAYLOADS = (*LIVE, *ODD)
FILED = tuple(payload for payload in PAYLOADS if "\x00" not in payload)
"""What a data file may hold: the import refuses a row with a null byte; a model may still write one."""
NAME = "<img src=x onerror=alert(1)> ![p](https:)"
LONG = "endless " * 12_500
TAGS = {"div", "span", "ins", "del", "i", "b", "style"}


def script(messages, seed: int) -> str:
    """A model whose drafts, principles and refinements all carry a payload, and whose refinements gain."""
    last = messages[-1]["content"]
    payload = PAYLOADS[seed % len(PAYLOADS)]
    if last.startswith("A better answer would be:") or last.startswith("Name one general principle"):
        return f"Mention {payload} please."
    if last.startswith("Rewrite your answer"):
        return f"{messages[1]['content']} {payload} and {PAYLOADS[(seed + 1) % len(PAYLOADS)]}"
    return " ".join(last.split(" ")[:-3])


def rows(count: int, first: int = 0) -> list[dict]:
    """Prompts and golds made of payloads; one gold has 100 kB."""
    made = []
    for n in range(first, first + count):
        payload = FILED[n % len(FILED)]
        gold = f"Case {n}: {' and '.join(FILED)}" + (LONG if n == first else "")
        messages = [
            {"role": "system", "content": f"Be {payload}"},
            {
                "role": "user",
                "content": f"Case {n}: what of {payload} and {FILED[(n + 3) % len(FILED)]} now",
            },
        ]
        made.append({"id": f"{n} {LIVE[n % len(LIVE)]}", "messages": messages, "gold": gold})
    return made


def build(home: Path) -> None:
    """The run: driven to its first gate, edited, approved, driven to its second."""
    from lpd_core import gate, jobs, parts
    from lpd_core.config import parse_config
    from lpd_core.driver import drive
    from lpd_core.store import Store

    store = Store(home)
    files = {}
    for place, (name, count) in enumerate({"train": 16, "dev": 6, "test": 4, "shifted": 4}.items()):
        files[name] = home / f"{NAME} {name}.jsonl"
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_text(
            "".join(json.dumps(row) + "\n" for row in rows(count, place * 100)), encoding="utf-8"
        )
    config = parse_config(
        {
            "name": NAME,
            "iterations": 2,
            "review": True,
            "data": {
                **{name: [str(files[name])] for name in ("train", "dev", "test")},
                "shifted": {NAME: str(files["shifted"])},
                "prompts_per_iteration": [8],
            },
            "sampler": {"kind": "scripted", "script": "hostile"},
            "e_step": {"n": 4, "chunk_prompts": 8, "leak_words": 0},
            "cluster": {"embedder": "hash", "layout": "pca"},
            "evaluate": {"resamples": 100},
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(parts.SCRIPTS, "hostile", script)
        folder = jobs.create_run(store, config)
        drive(store, folder.run_id, inline=True)
        entry = gate.current(store, folder.run_id, 1).active[0].entry_id
        words = {"id": entry, "label": f"label {' '.join(LIVE)}"}
        gate.edit(store, folder.run_id, 1, "rename", words, author=NAME, reason=" ".join(LIVE))
        gate.approve(store, folder, 1, author=NAME, message=" ".join(LIVE))
        drive(store, folder.run_id, inline=True)
    assert folder.state().status == "awaiting_review"


@pytest.fixture
def hostile(homes, monkeypatch) -> Path:
    """The home, made once a test session and set as `$LPD_HOME`; only to look at."""
    place = homes / "hostile"
    with open(homes / "hostile.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            making = homes / "hostile.making"
            shutil.rmtree(making, ignore_errors=True)
            build(making)
            making.rename(place)
    monkeypatch.setenv("LPD_HOME", str(place))
    return place


def dangers(app: AppTest) -> list[str]:
    """What on the page, its sidebar included, would be read as markup: tags in HTML that are not ours, and
    payloads that stand unescaped where Streamlit reads Markdown."""
    found = []
    for block in (*app.main, *app.sidebar):
        if block.type == "html":
            tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z]+)", block.proto.body)}
            found += [f"html: <{tag}>" for tag in sorted(tags - TAGS)]
            continue
        for name in ("value", "label", "help", "placeholder"):
            text = getattr(block, name, None)
            reads_markdown = name != "value" or block.type in ("markdown", "caption", "info", "error", "warning", "title",
                                                               "header", "subheader", "success")  # fmt: skip
            if isinstance(text, str) and reads_markdown:
                found += [f"{block.type}.{name}: {payload}" for payload in LIVE if payload in text]
    return found
