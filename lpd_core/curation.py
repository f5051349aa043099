"""What a curator does beyond single edits: import, replay, merge suggestions, lineage, an entry's members."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lpd_core import gate
from lpd_core.constitution import (
    Constitution,
    Diff,
    Entry,
    History,
    Imported,
    Lineage,
    Replayed,
    additions,
    diff,
    groups_by_k,
    groups_by_threshold,
    match,
    record,
    replay,
    successors,
)
from lpd_core.constitution.lookup import find_active, find_entry
from lpd_core.store import RunFolder, Store, constitutions, results
from lpd_core.types import Cluster

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 3
State = tuple[int, Constitution]
"""An iteration and a state of its constitution."""


def split_groups(
    store: Store,
    run_id: str,
    iteration: int,
    constitution: Constitution,
    entry_id: str,
    k: int | None,
    threshold: float | None,
) -> list[list[str]]:
    """The parts of an entry when its own part of the merge tree is cut into k, or at a lower distance."""
    ids = [member.principle_id for member in find_active(constitution, entry_id).members]
    merges, order = constitutions.merge_tree(store, run_id, iteration)
    if k is not None:
        return groups_by_k(merges, order, ids, k)
    return groups_by_threshold(merges, order, ids, threshold)


def lineage(store: Store, folder: RunFolder, iteration: int) -> Lineage:
    """How the clusters of an iteration continue those of the one before, as nodes and links."""
    before = _settled(store, folder.run_id, iteration - 1) if iteration > 1 else None
    return _matched(store, folder, before, _settled(store, folder.run_id, iteration))


def _settled(store: Store, run_id: str, iteration: int) -> Constitution:
    return constitutions.approved(store, run_id, iteration) or gate.current(store, run_id, iteration)


def _matched(store: Store, folder: RunFolder, before: Constitution | None, after: Constitution) -> Lineage:
    config = folder.config().cluster
    ids = sorted({m.principle_id for c in (before, after) if c for e in c.entries for m in e.members})
    vectors = results.known_vectors(store, ids, config.embedder)
    return match(before, after, vectors, config.lineage_threshold)


def compare(store: Store, folder: RunFolder, before: State, after: State) -> Diff:
    """What changed between two states, each with its own iteration's training rows; across iterations the
    entries are paired by lineage."""
    rows = [gate.training_rows(store, folder.run_id, *state) for state in (before, after)]
    paired = None if before[0] == after[0] else _matched(store, folder, before[1], after[1])
    return diff(before[1], after[1], *rows, paired)


def replay_edits(
    store: Store, folder: RunFolder, source: tuple[str, int], iteration: int, author: str
) -> Replayed:
    """Apply the edits made on another clustering (run, iteration) to this iteration's, and log those that fit,
    all or none; the report tells each edit's fate."""
    log = gate.history(store, folder.run_id, iteration)
    done = try_replay(store, folder, source, log)
    new = [replace(each, author=author) for each in done.history.edits[len(log.edits) :]]
    constitutions.append_edits(store, folder.run_id, iteration, new)
    return done


def try_replay(store: Store, folder: RunFolder, source: tuple[str, int], log: History) -> Replayed:
    """What a replay of the edits of (run, iteration) on a history would come to; nothing is written.

    Entries are matched by shared principles, then text, then distance."""
    theirs = gate.history(store, *source)
    matched = successors(_matched(store, folder, theirs.base, log.current))
    carried = None if source[0] == folder.run_id else ()  # another run's equal ids mean nothing
    return replay(theirs.edits, log, matched, gate.now(), theirs.base.prefix, carried)


def add_principles(
    store: Store, run_id: str, iteration: int, imported: Imported, pin: bool, author: str
) -> list[str]:
    """Add imported principles as entries without members, pinned if asked, all or none; returns their ids.
    Texts that an active entry has already are passed over."""
    before = log = gate.history(store, run_id, iteration)
    there = {entry.text for entry in log.current.active}
    at, made = gate.now(), []
    for fields in additions(imported):
        if fields["text"] in there:
            continue
        log = record(
            log,
            "add",
            {**fields, "pinned": pin or fields.get("pinned", False)},
            author=author,
            at=at,
            reason="imported",
        )
        made.append(f"{log.current.prefix}{len(log.edits)}")
    constitutions.append_edits(store, run_id, iteration, log.edits[len(before.edits) :])
    return made


def suggest_merges(
    store: Store,
    folder: RunFolder,
    iteration: int,
    entry_id: str | None,
    most: int,
    embed: Callable[[Sequence[str]], Any] | None = None,
    review: gate.Review | None = None,
) -> list[dict[str, Any]]:
    """The entries most like one (or the most alike pairs), by meaning, use and words, with each merge's effect.

    `embed` gives entries without members a meaning, by their texts; without it theirs is None. `review` is one
    that is open already."""
    from lpd_core.similar import similar_clusters

    review = review or gate.open_review(store, folder.run_id, iteration)
    here = review.history.current
    if entry_id is not None:
        find_active(here, entry_id)
    keywords = _keywords(store, folder.run_id, iteration, here)
    clusters = [_as_cluster(entry, keywords) for entry in here.active]
    use = results.principle_use(store, folder.run_id, iteration)
    known = results.known_vectors(store, list(use), folder.config().cluster.embedder)
    own = _own_vectors(here, embed)
    prompts = {principle_id: each["prompts"] for principle_id, each in use.items()}
    rows = []
    for pair in similar_clusters(clusters, known, prompts, entry_id, most, own):
        args = {"ids": [pair.cluster_id, pair.other_id]}
        effect = gate.preview(review, "merge", args)[1]
        rows.append(
            {
                "id": pair.cluster_id,
                "principle": here.by_id[pair.cluster_id].text,
                "other": pair.other_id,
                "other principle": here.by_id[pair.other_id].text,
                "meaning": pair.similarity,
                "co-use": pair.co_use,
                "words": pair.word_overlap,
                "shared words": list(pair.shared_words),
                "relabelled": effect.relabelled,
                "tokens": effect.tokens_after - effect.tokens_before,
            }
        )
    return rows


def _own_vectors(here: Constitution, embed: Callable[[Sequence[str]], Any] | None) -> dict[str, np.ndarray]:
    """The vectors of the texts of entries without members, by entry id; none without an embedder."""
    alone = [entry for entry in here.active if not entry.members] if embed else []
    vectors = embed([entry.text for entry in alone]) if embed and alone else ()
    return {entry.entry_id: vector for entry, vector in zip(alone, vectors, strict=True)}


def _keywords(store: Store, run_id: str, iteration: int, here: Constitution) -> dict[str, tuple[str, ...]]:
    """The keywords of the clusters found, and for entries that edits made, those of what they were made of."""
    rows = constitutions.cluster_rows(store, run_id, iteration)
    known = {row["cluster_id"]: tuple(row["keywords"] or ()) for row in rows}

    def of(entry: Entry) -> tuple[str, ...]:
        if entry.entry_id not in known:
            sources = [here.by_id[each] for each in entry.provenance.sources if each in here.by_id]
            known[entry.entry_id] = tuple(dict.fromkeys(word for source in sources for word in of(source)))
        return known[entry.entry_id]

    return {entry.entry_id: of(entry) for entry in here.active}


def _as_cluster(entry: Entry, keywords: Mapping[str, tuple[str, ...]]) -> Cluster:
    words = keywords[entry.entry_id]
    return Cluster(entry.entry_id, entry.text, entry.medoid_principle_id or "", entry.members, words)


def member_rows(
    store: Store, run_id: str, iteration: int, constitution: Constitution, entry_id: str
) -> list[dict[str, Any]]:
    """An entry's members, the most frequent first, each with the trajectories of highest gain as examples: the
    prompt's last user turn, the gold response, the gain."""
    entry = find_entry(constitution, entry_id)
    rows = store.database.query(
        """with best as (
               select principle_id, prompt_id, sample, gain from candidates
               where run_id = ? and iteration = ? and selected and principle_id in (select unnest(?::text[]))
               qualify row_number() over (partition by principle_id order by gain desc, prompt_id, sample) <= ?)
           select distinct on (b.principle_id, b.prompt_id, b.sample) b.*, p.messages, p.gold
           from best b join prompts p using (prompt_id)""",
        [run_id, iteration, [member.principle_id for member in entry.members], EXAMPLES],
    )
    examples: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (-row["gain"], row["prompt_id"], row["sample"])):
        asked = [turn["content"] for turn in json.loads(row["messages"]) if turn["role"] == "user"]
        shown = {name: row[name] for name in ("prompt_id", "sample", "gain", "gold")}
        examples.setdefault(row["principle_id"], []).append({**shown, "prompt": asked[-1] if asked else ""})
    return [
        {
            "principle_id": member.principle_id,
            "text": constitution.texts[member.principle_id],
            "count": member.count,
            "distance": member.distance,
            "examples": examples.get(member.principle_id, []),
        }
        for member in sorted(entry.members, key=lambda member: (-member.count, member.distance))
    ]


def cluster_table(store: Store, run_id: str, iteration: int) -> list[dict[str, Any]]:
    """The clusters as found, with their JSON columns as values and data sets by name."""
    names = {
        row["dataset_id"]: row["name"]
        for row in store.database.query("select dataset_id, name from datasets")
    }
    rows = []
    for row in constitutions.cluster_rows(store, run_id, iteration):
        decoded = {name: json.loads(row[name] or "null") for name in ("params", "datasets", "examples")}
        shares = {names.get(key, key): share for key, share in (decoded["datasets"] or {}).items()}
        rows.append({**row, **decoded, "datasets": shares})
    return rows
