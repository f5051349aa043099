"""What an edit of the constitution did: how the held-out prompts that it touched changed when the model was trained on it.

A prompt is never mined twice, so the change is measured on held-out prompts, before (M_{t-1}) and after (M_t), paired by
prompt. An edit made at the gate of iteration t touches the prompts for which M_{t-1} states a principle whose text in the
training set the edit changed or took out. They differ from the others without any edit too: the comparison is a hint, no
experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lpd_core import gate
from lpd_core.config import RunConfig
from lpd_core.constitution import Constitution, Edit, effective_edits, replacements
from lpd_core.metrics import interval
from lpd_core.parts import Embedder
from lpd_core.scoring import principle_id
from lpd_core.statistics import difference_interval
from lpd_core.store import Store, constitutions, evaluating, results
from lpd_core.types import Interval

Row = Mapping[str, Any]
MEASURES = ("y1", "y2", "accepted")
"""f of the draft and of the answer, and the share of prompts with f(y2) > f(y1) + margin: the E-step's acceptance."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The change of one measure from M_{t-1} to M_t: over the touched prompts, over the others, and the one less the other,
    each with a bootstrap interval over prompts."""

    measure: str
    touched: Interval
    others: Interval
    between: Interval


@dataclass(frozen=True, slots=True)
class EditEffect:
    """An edit of iteration t's constitution, or all of them together (`seq` None), with how many principles and held-out
    prompts it touched, and what changed. `prompt_ids` are the touched ones."""

    iteration: int
    seq: int | None
    op: str
    args: Mapping[str, Any]
    author: str
    reason: str
    principles: int
    prompt_ids: tuple[str, ...]
    changes: tuple[Changed, ...]


def touched_principles(before: Constitution, after: Constitution, replaces: bool = True) -> set[str]:
    """The principles whose trajectories train on another text after than before, or came in or left; with `replaces` False
    (cluster.label = "none") those that came in or left."""
    old, new = replacements(before), replacements(after)
    if not replaces:
        return {
            each for each in old.keys() | new.keys() if (old.get(each) is None) != (new.get(each) is None)
        }
    return {each for each in old.keys() | new.keys() if old.get(each) != new.get(each)}


def changes(
    before: Sequence[Row], after: Sequence[Row], touched: Collection[str], margin: float = 0.0
) -> tuple[Changed, ...]:
    """What changed between two measurements of the same prompts (rows with prompt_id, draft_score, score), touched against
    others; a prompt without a score in one of them is left out of that measure."""
    old = {row["prompt_id"]: _measures(row, margin) for row in before}
    found = []
    for name in MEASURES:
        moved: dict[bool, list[float]] = {True: [], False: []}
        for row in after:
            was, now = old.get(row["prompt_id"], {}).get(name), _measures(row, margin)[name]
            if was is not None and now is not None:
                moved[row["prompt_id"] in touched].append(now - was)
        between = difference_interval(moved[True], moved[False], 1000)
        found.append(Changed(name, interval(moved[True], 1000), interval(moved[False], 1000), between))
    return tuple(found)


def _measures(row: Row, margin: float) -> dict[str, float | None]:
    y1, y2 = row["draft_score"], row["score"]
    accepted = None if y1 is None or y2 is None else float(y2 > y1 + margin)
    return {"y1": y1, "y2": y2, "accepted": accepted}


def run_edit_effects(
    store: Store,
    run_id: str,
    config: RunConfig,
    benchmark: str,
    embedder: Callable[[], Embedder] | None = None,
) -> list[EditEffect]:
    """The effect of each edit that stands, and of all of an iteration's together where there are several, in every iteration
    that was measured after it. Without an embedder a held-out principle counts as touched only by its very words."""
    found = []
    for t in constitutions.clustered(store, run_id):
        edits = constitutions.edits(store, run_id, t)
        after = evaluating.heldout_answers(store, run_id, t, benchmark) if edits else []
        before = evaluating.heldout_answers(store, run_id, t - 1, benchmark) if after else []
        if before:
            found += _effects_of(store, run_id, config, t, before, after, embedder)
    return found


def _effects_of(
    store: Store,
    run_id: str,
    config: RunConfig,
    iteration: int,
    before: Sequence[Row],
    after: Sequence[Row],
    embedder: Callable[[], Embedder] | None,
) -> list[EditEffect]:
    log = gate.history(store, run_id, iteration)
    replaces = gate.replaces_texts(store, run_id)
    standing: list[tuple[Edit | None, set[str]]] = []
    for edit in effective_edits(log.edits):
        moved = touched_principles(log.after(edit.seq - 1), log.after(edit.seq), replaces)
        standing += [(edit, moved)] if moved else []
    if len(standing) > 1:
        standing.append((None, touched_principles(log.base, log.current, replaces)))
    if not standing:
        return []
    stated = _stated(store, config, log.base, before, embedder)
    found = []
    for edit, moved in standing:
        prompts = tuple(sorted(prompt for prompt, principle in stated.items() if principle in moved))
        told = changes(before, after, set(prompts), config.e_step.margin)
        own = (
            (edit.seq, edit.op, edit.args, edit.author, edit.reason)
            if edit
            else (None, "all edits", {}, "", "")
        )
        found.append(EditEffect(iteration, *own, len(moved), prompts, told))
    return found


def _stated(
    store: Store,
    config: RunConfig,
    found: Constitution,
    answers: Iterable[Row],
    embedder: Callable[[], Embedder] | None,
) -> dict[str, str]:
    """The clustered principle that each prompt's z is, or is nearest to within the lineage threshold; prompts whose z is
    near none are left out."""
    known = set(replacements(found))
    stated = {row["prompt_id"]: row["principle"] for row in answers if row["principle"]}
    exact = {prompt: principle_id(text) for prompt, text in stated.items()}
    told = {prompt: each for prompt, each in exact.items() if each in known}
    rest = sorted({text for prompt, text in stated.items() if prompt not in told})
    if not rest or embedder is None:
        return told
    near = _nearest(store, config, sorted(known), rest, embedder())
    return told | {
        prompt: near[text] for prompt, text in stated.items() if prompt not in told and text in near
    }


def _nearest(
    store: Store, config: RunConfig, ids: Sequence[str], texts: Sequence[str], embedder: Embedder
) -> dict[str, str]:
    import numpy as np

    vectors = results.known_vectors(store, ids, config.cluster.embedder)
    if not vectors:
        return {}
    names = list(vectors)
    matrix, asked = np.stack([vectors[name] for name in names]), np.asarray(embedder.embed(list(texts)))
    found = {}
    for text, vector in zip(texts, asked, strict=True):
        likeness = matrix @ vector
        best = int(likeness.argmax())
        if 1.0 - likeness[best] <= config.cluster.lineage_threshold:
            found[text] = names[best]
    return found
