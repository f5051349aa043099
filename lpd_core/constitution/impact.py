"""What an edit or an approval does to the training set, before it is committed.

Trajectories are indexed once; a preview then looks only at the principles whose replacement the edit can have
changed. Token counts under a replaced text are estimates: the trajectory's own count, plus what the new text
is longer than the principle it was mined with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from lpd_core.constitution.state import Constitution, Entry, replacements


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
    tokens_by_principle: np.ndarray
    numbers: Mapping[str, int]
    rows: np.ndarray
    starts: np.ndarray
    token_length: Callable[[str], int] | None
    anchor: Constitution
    kept_by_prompt: np.ndarray
    kept_tokens: int
    rest_rows: int = 0
    """Trajectories that the training set holds besides those indexed, whatever is edited."""

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
        tokens_by_principle=np.bincount(principles, np.asarray(tokens, dtype=np.float64), len(numbers)),
        numbers=numbers,
        rows=rows,
        starts=np.searchsorted(principles[rows], np.arange(len(numbers) + 1)),
        token_length=token_length and cache(token_length),
        anchor=constitution,
        kept_by_prompt=np.bincount(prompts, minlength=len(prompt_numbers)),
        kept_tokens=int(sum(tokens)),
    )
    texts = ((each, constitution.texts[each], text) for each, text in replacements(constitution).items())
    return _anchored(as_mined, constitution, _changes(as_mined, texts))


def with_rest(
    index: TrajectoryIndex, beside: Mapping[str, int], rest_rows: int, rest_tokens: int
) -> TrajectoryIndex:
    """The index of some principles' trajectories, counting with those of all others, which no edit changes.

    `rest_rows` and `rest_tokens` are what those bring to the training set, `beside` how many of them each
    prompt of the index has."""
    own = np.array([beside.get(prompt_id, 0) for prompt_id in index.prompt_ids], dtype=np.int64)
    return replace(
        index,
        kept_by_prompt=index.kept_by_prompt + own,
        kept_tokens=index.kept_tokens + rest_tokens,
        rest_rows=rest_rows - int(own.sum()),
    )


def reanchor(index: TrajectoryIndex, constitution: Constitution) -> TrajectoryIndex:
    """The index brought to another state: previews cost what changed since the state it was brought to."""
    return _anchored(index, constitution, _between(index, index.anchor, constitution))


def impact(before: Constitution, after: Constitution, index: TrajectoryIndex) -> Impact:
    """What the training set loses and gains between two states of the same constitution."""
    here = reanchor(index, before)
    changes = _between(index, before, after)
    there = _anchored(here, after, changes)
    emptied = np.flatnonzero((here.kept_by_prompt > 0) & (there.kept_by_prompt == 0))
    return Impact(
        relabelled=sum(c.trajectories for c in changes if c.before is not None and c.after is not None),
        lost=sum(c.trajectories for c in changes if c.after is None),
        regained=sum(c.trajectories for c in changes if c.before is None),
        rows_before=int(here.kept_by_prompt.sum()) + index.rest_rows,
        rows_after=int(there.kept_by_prompt.sum()) + index.rest_rows,
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
    entry_ids = [
        entry_id
        for entry_id in before.by_id.changed_keys(after.by_id)
        if not _trains_alike(before.by_id.get(entry_id), after.by_id.get(entry_id))
    ]
    single = before.pruned.changed_keys(after.pruned)
    loose = before.unclustered.changed_keys(after.unclustered)
    old, new = (_texts(state, entry_ids, single, loose) for state in (before, after))
    return _changes(index, ((each, old[each], new[each]) for each in sorted(old)))


def _texts(
    state: Constitution, entry_ids: Iterable[str], single: Iterable[str], loose: Iterable[str]
) -> dict[str, str | None]:
    """What replaces the principles in these places; a principle that left one of them entered another."""
    entries = [state.by_id[each] for each in entry_ids if each in state.by_id]
    texts: dict[str, str | None] = {
        member.principle_id: entry.text if entry.status == "active" else None
        for entry in entries
        if entry.holds_members
        for member in entry.members
    }
    texts |= {each: None for each in single if each in state.pruned}
    return texts | {each: state.texts[each] for each in loose if each in state.unclustered}


def _trains_alike(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return False
    return (one.text, one.status) == (other.text, other.status) and one.members is other.members


def _changes(
    index: TrajectoryIndex, texts: Iterable[tuple[str, str | None, str | None]]
) -> list[PrincipleChange]:
    return [
        PrincipleChange(principle_id, before, after, len(index.rows_of(principle_id)))
        for principle_id, before, after in texts
        if before != after
    ]


def _anchored(
    index: TrajectoryIndex, constitution: Constitution, changes: list[PrincipleChange]
) -> TrajectoryIndex:
    """The index with what the training set holds after some changes."""
    kept = index.kept_by_prompt.copy()
    for change in changes:
        if change.before is None or change.after is None:
            rows = index.rows_of(change.principle_id)
            np.add.at(kept, index.prompts[rows], -1 if change.after is None else 1)
    tokens = sum(_tokens(index, c, c.after) - _tokens(index, c, c.before) for c in changes)
    return replace(index, anchor=constitution, kept_by_prompt=kept, kept_tokens=index.kept_tokens + tokens)


def _tokens(index: TrajectoryIndex, change: PrincipleChange, text: str | None) -> int:
    """The tokens that a principle's trajectories contribute under a text."""
    number = index.numbers.get(change.principle_id)
    if text is None or number is None:
        return 0
    own, length = index.anchor.texts[change.principle_id], index.token_length
    longer = length(text) - length(own) if length and text != own else 0
    return int(index.tokens_by_principle[number]) + change.trajectories * longer
