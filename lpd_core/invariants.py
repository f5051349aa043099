"""The promises a correct run keeps (section 8), proved from its stored rows: `check --run RUN`.

Each check returns the violations it found, in words; none means that the promise holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lpd_core.config import RunConfig
from lpd_core.constitution import Constitution
from lpd_core.errors import UserError
from lpd_core.parts import Parts
from lpd_core.prompts import Templates, improve_chat, opening, propose_chat, refine_chat
from lpd_core.stage import model_of
from lpd_core.store import RunFolder, Store, constitutions
from lpd_core.store import runs as run_table
from lpd_core.types import CANDIDATE_STATUSES, Message, Pair, TrainingRow

TOLERANCE = 1e-9
SHOWN = 3


@dataclass(frozen=True)
class Evidence:
    """What the checks look at."""

    store: Store
    folder: RunFolder
    config: RunConfig
    templates: Templates
    parts: Parts

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of the run; `$run` is bound to its id."""
        return self.store.database.query(sql, {"run": self.folder.run_id})


def check_invariants(evidence: Evidence) -> dict[str, list[str]]:
    """The violations found, by invariant; an empty list for one that holds.

    Raises `UserError` when the database does not hold the run's rows: nothing would prove everything."""
    require_complete(evidence)
    return {name: list(check(evidence)) for name, check in CHECKS.items()}


def require_complete(e: Evidence) -> None:
    """Every committed segment must be in the database, with the run and its prompts, and there must be some."""
    run_table.require(e.store, e.folder)
    known = {row["name"] for row in e.query("select name from segments where run_id = $run")}
    missing = [name for name in e.folder.segment_names() if name not in known]
    if missing:
        raise UserError(
            f"{len(missing)} segments are not in the database yet ({missing[0]}): resume the run first"
        )
    table = "training_rows" if e.config.m_step.target == "gold" else "candidates"
    if not e.query(f"select 1 from {table} where run_id = $run limit 1"):
        raise UserError(
            f"run {e.folder.run_id} has no {table.replace('_', ' ')} yet, so there is nothing to check"
        )


def _gold_is_shown_only_to_the_proposer(e: Evidence) -> Iterator[str]:
    for row in e.query(
        """select c.iteration, c.prompt_id, c.sample, c.principle, p.messages, p.gold, d.text draft, c.response
           from candidates c join drafts d using (run_id, iteration, prompt_id) join prompts p using (prompt_id)
           where c.run_id = $run and c.principle <> '' order by all"""
    ):
        messages = tuple(json.loads(row["messages"]))
        if row["gold"] not in propose_chat(e.templates, messages, row["draft"], row["gold"])[-1]["content"]:
            yield f"iteration {row['iteration']}, prompt {row['prompt_id']}: the proposer was not shown the gold"
        chat = refine_chat(e.templates, messages, row["draft"], row["principle"])
        if _shows(e.templates, row["gold"], chat[len(messages) + 1 :], row["principle"]):
            yield f"iteration {row['iteration']}, prompt {row['prompt_id']}: the gold stands in a refine prompt"
    for row in _training_rows(e):
        expected = _expected_row(e, row)
        if json.loads(row["messages"]) != expected:
            yield (
                f"iteration {row['iteration']}, prompt {row['prompt_id']}: the training row holds more or less than "
                "x, y1, cue, z, cue, y2"
            )
        elif e.config.m_step.target != "gold" and _shows(
            e.templates, row["gold"], _after_draft(e, row, expected), row["principle"]
        ):
            yield f"iteration {row['iteration']}, prompt {row['prompt_id']}: the gold stands in a training row's cues"


def _after_draft(e: Evidence, row: dict[str, Any], expected: list[Message]) -> list[Message]:
    """The turns after y1; the prompt itself may well quote its gold."""
    return expected[len(opening(e.templates, json.loads(row["prompt"]))) + 1 :]


def _shows(
    templates: Templates, gold: str, turns: tuple[Message, ...] | list[Message], principle: str
) -> bool:
    """Whether the cues around z quote the gold. A short gold ("one") may stand in z or in a cue's own words."""
    cues = [turn["content"].replace(principle, "") for turn in turns if turn["role"] == "user"]
    own = " ".join((templates.principle_cue, templates.refine_cue, templates.critique, templates.improve_cue))
    return gold not in own and any(gold in cue for cue in cues)


def _training_rows(e: Evidence) -> list[dict[str, Any]]:
    return e.query(
        """select t.*, p.messages prompt, p.gold, d.text draft, d.score draft_score, c.response, c.score
           from training_rows t join prompts p using (prompt_id)
           left join drafts d on d.run_id = t.run_id and d.prompt_id = t.prompt_id
                and d.iteration = t.origin_iteration
           left join candidates c on c.run_id = t.run_id and c.prompt_id = t.prompt_id
                and c.iteration = t.origin_iteration and c.sample = t.sample
           where t.run_id = $run order by t.iteration, t.prompt_id, t.sample"""
    )


def _expected_row(e: Evidence, row: dict[str, Any]) -> list[Message]:
    """The training chat rebuilt from x, y1, z and y2, as far as the line shows them; a re-refined y2 is the row's own."""
    prompt = tuple(json.loads(row["prompt"]))
    target = e.config.m_step.target
    if target == "gold":
        return [
            dict(turn)
            for turn in (*opening(e.templates, prompt), {"role": "assistant", "content": row["gold"]})
        ]
    chat = refine_chat(e.templates, prompt, row["draft"] or "", row["principle"])
    if target == "star":
        chat = improve_chat(e.templates, prompt, row["draft"] or "")
    response = row["response"]
    if e.config.cluster.rerefine:
        response = json.loads(row["messages"])[-1]["content"]
    return [dict(turn) for turn in (*chat, {"role": "assistant", "content": response})]


def _selected_gain(e: Evidence) -> Iterator[str]:
    rows = e.query(
        """select c.iteration, c.prompt_id, c.score, c.gain, c.response, d.text draft, d.score draft_score, p.gold,
                  p.messages prompt
           from candidates c join drafts d using (run_id, iteration, prompt_id) join prompts p using (prompt_id)
           where c.run_id = $run and c.selected order by all"""
    )
    after = _rescored(e, [(row["response"], row) for row in rows], [row["score"] for row in rows])
    before = _rescored(e, [(row["draft"], row) for row in rows], [row["draft_score"] for row in rows])
    for row, response, draft in zip(rows, after, before, strict=True):
        where = f"iteration {row['iteration']}, prompt {row['prompt_id']}"
        if not response > draft + e.config.e_step.margin:
            yield f"{where}: f(y2) = {response:.6f} does not exceed f(y1) = {draft:.6f} by the margin"
        elif abs(response - row["score"]) > TOLERANCE or abs(draft - row["draft_score"]) > TOLERANCE:
            yield f"{where}: the stored scores are not those of the stored texts"
    yield from _trained_gain(e)


def _rescored(
    e: Evidence, texts: list[tuple[str, dict[str, Any]]], stored: list[float | None]
) -> list[float | None]:
    """f of texts beside their rows' golds, recomputed; the stored value where the verdict of a judge is not kept
    here any more (asking it again would be another measurement)."""
    pairs = [Pair(text, row["gold"], tuple(json.loads(row["prompt"]))) for text, row in texts]
    scores = e.parts.scorer.score(pairs)
    if "judge" not in e.config.scoring.parts:
        return scores
    return [known if score is None else score for score, known in zip(scores, stored, strict=True)]


def _trained_gain(e: Evidence) -> Iterator[str]:
    """What is trained on gains too, also where re-refinement wrote y2 anew; a gold has no draft to gain over."""
    rows = _training_rows(e) if e.config.m_step.target != "gold" else []
    texts = [json.loads(row["messages"])[-1]["content"] for row in rows]
    is_own = not e.config.cluster.rerefine
    stored = [row["score"] if is_own else None for row in rows]
    after = _rescored(e, list(zip(texts, rows, strict=True)), stored)
    before = _rescored(e, [(row["draft"] or "", row) for row in rows], [row["draft_score"] for row in rows])
    for row, response, draft in zip(rows, after, before, strict=True):
        if response is None or draft is None:
            yield (
                f"iteration {row['iteration']}, prompt {row['prompt_id']}: the judge's verdicts are not kept, so "
                "the gain of the trained y2 cannot be proved"
            )
        elif not response > draft + e.config.e_step.margin:
            yield (
                f"iteration {row['iteration']}, prompt {row['prompt_id']}: the trained y2 scores {response:.6f}, "
                f"the draft {draft:.6f}"
            )


def _one_selected(e: Evidence) -> Iterator[str]:
    for row in e.query(
        """select iteration, prompt_id, count(*) n from candidates where run_id = $run and selected
           group by all order by all"""
    ):
        if row["n"] > e.config.e_step.keep:
            yield (
                f"iteration {row['iteration']}, prompt {row['prompt_id']}: {row['n']} selected, "
                f"{e.config.e_step.keep} allowed"
            )


def _disjoint_prompts(e: Evidence) -> Iterator[str]:
    for row in e.query(
        """select prompt_id, count(*) n, list(distinct iteration order by iteration) iterations from assignments
           where run_id = $run group by prompt_id
           having count(distinct iteration) > 1 or count(*) > 1 order by prompt_id"""
    ):
        yield f"prompt {row['prompt_id']} is used {row['n']} times (iterations {row['iterations']}; 0 is held out)"
    for row in e.query(
        """select d.iteration, d.prompt_id from drafts d anti join
           (select * from assignments where benchmark = 'train') a using (run_id, iteration, prompt_id)
           where d.run_id = $run order by all"""
    ):
        yield f"prompt {row['prompt_id']} was mined in iteration {row['iteration']} without being assigned to it"


def _approved_principles_only(e: Evidence) -> Iterator[str]:
    approved: dict[int, Constitution | None] = {}
    for row in _training_rows(e):
        origin = row["origin_iteration"]
        if origin not in approved:
            approved[origin] = constitutions.approved(e.store, e.folder.run_id, origin)
        constitution = approved[origin]
        where = f"iteration {row['iteration']}, prompt {row['prompt_id']}"
        if constitution is None:
            yield f"{where}: trained on, though iteration {origin} has no approved constitution"
        elif (
            e.config.m_step.target == "staple"
            and e.config.cluster.label != "none"
            and row["principle"] not in _allowed_texts(constitution)
        ):
            yield f"{where}: {row['principle']!r} is no representative of the approved constitution"


def _allowed_texts(constitution: Constitution) -> set[str]:
    from lpd_core.constitution import replacements

    return {text for text in replacements(constitution).values() if text is not None}


def _labels_mask(e: Evidence) -> Iterator[str]:
    rows = _training_rows(e)
    tokenizer = _tokenizer(e) if rows else None
    for row in rows:
        where = f"iteration {row['iteration']}, prompt {row['prompt_id']}"
        messages = json.loads(row["messages"])
        last = len(messages) - 1
        before = {"staple": [last - 2], "star": [], "gold": []}[e.config.m_step.target]
        draft = {"staple": last - 4, "star": last - 2, "gold": None}[e.config.m_step.target]
        expected = [*before, last]
        if draft is not None and e.config.m_step.train_draft and messages[draft]["content"].strip():
            expected = [draft, *expected]
        if list(row["trained"]) != expected:
            yield f"{where}: the loss is on turns {list(row['trained'])}, not on {expected}"
        elif tokenizer is not None and not _trained_tokens(tokenizer, row, messages):
            yield f"{where}: the label mask is empty"


def _tokenizer(e: Evidence):
    if e.config.sampler.kind == "scripted":
        return None
    from lpd_core.samplers.chat import load_tokenizer

    return load_tokenizer(model_of(e.config, e.folder, 0), e.config.model)


def _trained_tokens(tokenizer: Any, row: dict[str, Any], messages: list[Message]) -> int:
    from lpd_core.label_mask import encode_parts

    kept = TrainingRow(
        row["prompt_id"],
        row["sample"],
        row["principle"],
        tuple(messages),
        tuple(row["trained"]),
        row["weight"],
    )
    try:
        return sum(segment > 0 for part in encode_parts(tokenizer, kept) for segment in part.segments)
    except UserError:
        return 1  # the template cannot keep this row's texts: the trainer left it out and said so


def _weights_hand_over(e: Evidence) -> Iterator[str]:
    rows = {row["iteration"]: row for row in e.query("select * from iterations where run_id = $run")}
    for t in sorted(rows):
        before = rows.get(t - 1)
        if t > 1 and before and rows[t]["model_in_digest"] != before["model_out_digest"]:
            yield f"iteration {t}'s E-step used {rows[t]['model_in_digest']}, not M_{t - 1} {before['model_out_digest']}"
        if t == 1 and before and rows[t]["model_in_digest"] != before["model_in_digest"]:
            yield f"iteration 1's E-step used {rows[t]['model_in_digest']}, not the base model"
        out = rows[t]["model_out"]
        if out and e.folder.checkpoint(t).exists() and e.parts.digest(out) != rows[t]["model_out_digest"]:
            yield f"the checkpoint of iteration {t} is not the one that was recorded"


def _counts_add_up(e: Evidence) -> Iterator[str]:
    for row in e.query(
        """select iteration, prompt_id, count(*) n, count(distinct sample) samples,
                  count(*) filter (where selected <> (status = 'accepted')) torn,
                  bool_or(status in ('failed', 'unscored', 'skipped_good_draft') and principle = '') outside,
                  list(distinct status) statuses
           from candidates where run_id = $run group by all order by all"""
    ):
        where = f"iteration {row['iteration']}, prompt {row['prompt_id']}"
        unknown = set(row["statuses"]) - set(CANDIDATE_STATUSES)
        wanted = 1 if row["outside"] and row["n"] == 1 else e.config.e_step.n
        if unknown:
            yield f"{where}: unknown status {', '.join(sorted(unknown))}"
        if row["n"] != wanted or row["samples"] != row["n"]:
            yield f"{where}: {row['n']} candidates, {wanted} expected"
        if row["torn"]:
            yield f"{where}: {row['torn']} candidates are selected but not accepted, or the reverse"
    for row in e.query(
        """select a.iteration, count(*) prompts, count(d.prompt_id) drafted,
                  (select count(distinct prompt_id) from candidates c
                   where c.run_id = $run and c.iteration = a.iteration) tried
           from assignments a left join drafts d using (run_id, iteration, prompt_id)
           where a.run_id = $run and a.benchmark = 'train' and a.iteration in
                (select iteration from iterations where run_id = $run and stage <> 'e_step')
           group by a.iteration order by a.iteration"""
    ):
        if e.config.m_step.target != "gold" and not row["prompts"] == row["drafted"] == row["tried"]:
            yield (
                f"iteration {row['iteration']}: {row['prompts']} prompts, {row['drafted']} drafts, "
                f"{row['tried']} prompts with candidates"
            )


CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "1 the gold is shown to the proposer alone": _gold_is_shown_only_to_the_proposer,
    "2 every selected trajectory gains": _selected_gain,
    "3 at most one trajectory a prompt": _one_selected,
    "4 prompts are disjoint": _disjoint_prompts,
    "5 training uses approved principles only": _approved_principles_only,
    "6 the loss is on z and y2 alone": _labels_mask,
    "7 each E-step used the weights before it": _weights_hand_over,
    "8 counts add up": _counts_add_up,
}


def run_evidence(store: Store, folder: RunFolder) -> Evidence:
    """The evidence of a run as its folder configures it."""
    from lpd_core.build import build_parts, build_scorer
    from lpd_core.prompts import load_templates

    config = folder.config()
    templates = load_templates(folder.prompts(config))
    scorer = build_scorer(config, store.cache, ask=False)
    parts = replace(build_parts(config, store.cache), scorer=scorer)
    return Evidence(store, folder, config, templates, parts)
