"""What an edit or an approval does to the training set, before it is committed.

Trajectories are indexed once; a preview then looks only at the principles whose replacement the edit can have
changed. Token counts under a replaced text are estimates: the trajectory's own count, plus what the new text
is longer than the principle it was mined with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lpd_core.constitution.state import Constitution, Entry, replacement, replacements


@dataclass(frozen=True, slots=True)
class PrincipleChange:
    """A principle with the texts that replaced it before and replace it now (None: pruned)."""

    principle_id: str
    before: str | None
    after: str | None
    trajectories: int


@dataclass(frozen=True, slots=True)
class Impact:
    """Trajectories relabelled, lost and regained; training rows and tokens before and after; the prompts that
    lose their last trajectory; and the principles behind it all."""

    relabelled: int
    lost: int
    regained: int
    rows_before: int
    rows_after: int
    tokens_before: int
    tokens_after: int
    prompts_lost: tuple[str, ...]
    changes: tuple[PrincipleChange, ...]


@dataclass(frozen=True, slots=True)
class AffectedTrajectory:
    """A trajectory that an edit relabels: a candidate for re-refinement under its new principle."""

    prompt_id: str
    sample: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, eq=False)
class TrajectoryIndex:
    """The trajectories by principle, and what of them the training set holds under the state `anchor`.

    `rows` lists row numbers principle by principle, those of the principle numbered c from `starts[c]` on."""

    prompt_ids: tuple[str, ...]
    prompts: np.ndarray
    samples: np.ndarray
    tokens: np.ndarray
    numbers: Mapping[str, int]
    rows: np.ndarray
    starts: np.ndarray
    token_length: Callable[[str], int] | None
    anchor: Constitution
    kept_by_prompt: np.ndarray
    kept_tokens: int

    def rows_of(self, principle_id: str) -> np.ndarray:
        """The row numbers of a principle's trajectories."""
        number = self.numbers.get(principle_id)
        return self.rows[:0] if number is None else self.rows[self.starts[number] : self.starts[number + 1]]


def index_trajectories(
    constitution: Constitution,
    prompt_ids: Sequence[str],
    samples: Sequence[int],
    principle_ids: Sequence[str],
    tokens: Sequence[int],
    token_length: Callable[[str], int] | None = None,
) -> TrajectoryIndex:
    """Index an iteration's trajectories, given column by column; any of its states serves as `constitution`.

    `tokens` counts a trajectory with the principle it was mined with; `token_length` estimates the tokens of
    a text. A trajectory whose principle the constitution does not know stays as it is under every edit."""
    prompt_numbers, prompts = _numbered(prompt_ids)
    numbers, principles = _numbered(principle_ids)
    rows = np.argsort(principles, kind="stable")
    as_mined = TrajectoryIndex(
        prompt_ids=tuple(prompt_numbers),
        prompts=prompts,
        samples=np.asarray(samples),
        tokens=np.asarray(tokens, dtype=np.int64),
        numbers=numbers,
        rows=rows,
        starts=np.searchsorted(principles[rows], np.arange(len(numbers) + 1)),
        token_length=token_length,
        anchor=constitution,
        kept_by_prompt=np.bincount(prompts, minlength=len(prompt_numbers)),
        kept_tokens=int(sum(tokens)),
    )
    texts = replacements(constitution)
    changes = _changes(as_mined, texts, constitution.texts.__getitem__, texts.__getitem__)
    return _anchored(as_mined, constitution, changes)


def impact(before: Constitution, after: Constitution, index: TrajectoryIndex) -> Impact:
    """What the training set loses and gains between two states of the same constitution."""
    here = _anchored(index, before, _between(index, index.anchor, before))
    changes = _between(index, before, after)
    there = _anchored(here, after, changes)
    emptied = np.flatnonzero((here.kept_by_prompt > 0) & (there.kept_by_prompt == 0))
    return Impact(
        relabelled=sum(c.trajectories for c in changes if c.before is not None and c.after is not None),
        lost=sum(c.trajectories for c in changes if c.after is None),
        regained=sum(c.trajectories for c in changes if c.before is None),
        rows_before=int(here.kept_by_prompt.sum()),
        rows_after=int(there.kept_by_prompt.sum()),
        tokens_before=here.kept_tokens,
        tokens_after=there.kept_tokens,
        prompts_lost=tuple(sorted(index.prompt_ids[number] for number in emptied)),
        changes=tuple(changes),
    )


def affected(found: Impact, index: TrajectoryIndex) -> Iterator[AffectedTrajectory]:
    """The trajectories that stay in the training set under another text, principle by principle."""
    for change in found.changes:
        if change.before is not None and change.after is not None:
            for row in index.rows_of(change.principle_id):
                prompt_id = index.prompt_ids[index.prompts[row]]
                yield AffectedTrajectory(prompt_id, int(index.samples[row]), change.before, change.after)


def _numbered(names: Sequence[str]) -> tuple[dict[str, int], np.ndarray]:
    numbers: dict[str, int] = {}
    return numbers, np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _between(index: TrajectoryIndex, before: Constitution, after: Constitution) -> list[PrincipleChange]:
    """What changed for the principles that the edits between two states can have touched, and only those."""
    touched = before.pruned.changed_keys(after.pruned) | before.unclustered.changed_keys(after.unclustered)
    for entry_id in before.by_id.changed_keys(after.by_id):
        pair = before.by_id.get(entry_id), after.by_id.get(entry_id)
        if None in pair or not _trains_alike(*pair):
            touched.update(
                m.principle_id for entry in pair if entry and entry.holds_members for m in entry.members
            )
    return _changes(
        index, touched, lambda each: replacement(before, each), lambda each: replacement(after, each)
    )


def _trains_alike(one: Entry, other: Entry) -> bool:
    return (one.text, one.status) == (other.text, other.status) and one.members is other.members


def _changes(
    index: TrajectoryIndex,
    principle_ids: Iterable[str],
    before: Callable[[str], str | None],
    after: Callable[[str], str | None],
) -> list[PrincipleChange]:
    return [
        PrincipleChange(each, before(each), after(each), len(index.rows_of(each)))
        for each in sorted(principle_ids)
        if before(each) != after(each)
    ]


def _anchored(
    index: TrajectoryIndex, constitution: Constitution, changes: list[PrincipleChange]
) -> TrajectoryIndex:
    """The index with what the training set holds after some changes."""
    kept, tokens = index.kept_by_prompt.copy(), index.kept_tokens
    for change in changes:
        rows = index.rows_of(change.principle_id)
        np.add.at(kept, index.prompts[rows], (change.before is None) - (change.after is None))
        tokens += _tokens(index, change.principle_id, change.after) - _tokens(
            index, change.principle_id, change.before
        )
    return replace(index, anchor=constitution, kept_by_prompt=kept, kept_tokens=tokens)


def _tokens(index: TrajectoryIndex, principle_id: str, text: str | None) -> int:
    """The tokens that a principle's trajectories contribute under a text."""
    if text is None:
        return 0
    rows, own = index.rows_of(principle_id), index.anchor.texts[principle_id]
    longer = (
        0 if index.token_length is None or text == own else index.token_length(text) - index.token_length(own)
    )
    return int(index.tokens[rows].sum()) + len(rows) * longer
