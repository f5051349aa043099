"""The records that cross module borders: frozen, without behaviour, named in the field's terms.

Knows nothing of any library, file or setting. Shapes: texts are plain `str`; token counts are whole
tokens; scores and gains are similarities f in [0, 1] and their differences in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Message = Mapping[str, str]
"""One chat turn: {"role": "system" | "user" | "assistant", "content": text}."""

FinishReason = Literal["stop", "length", "overlong", "error"]
"""Why a generation ended: its stop token, the token limit, a prompt too long to send, a failed request."""

CandidateStatus = Literal[
    "accepted",
    "not_best",
    "no_gain",
    "empty",
    "too_long",
    "leaks_gold",
    "unparsable",
    "unscored",
    "skipped_good_draft",
    "failed",
]
"""The closed list of what became of a candidate. `accepted` is the selected one (or ones, in soft EM);
`not_best` gained too, but another of the same prompt gained more."""

CANDIDATE_STATUSES: tuple[CandidateStatus, ...] = CandidateStatus.__args__


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt with its gold response: x and yG of the paper."""

    dataset_id: str
    prompt_id: str
    messages: tuple[Message, ...]
    gold: str
    split: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One completion to sample. Equal `messages` in one call may share their prefill; `seed` alone
    decides the random numbers of this row, so that its text depends neither on its batch nor on a resume."""

    messages: tuple[Message, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One sampled completion: text without special tokens, its length and its prompt's, in tokens.

    `cached_tokens` of the prompt were not computed for this row, because another had them already. `raw` is what was
    said where `text` is only a part of it. `truncated` tells that the prompt was cut to fit."""

    text: str
    finish_reason: FinishReason
    tokens: int
    prompt_tokens: int
    error: str | None = None
    cached_tokens: int = field(default=0, compare=False)
    raw: str | None = None
    truncated: bool = False


class Pair(NamedTuple):
    """What a scorer compares: a response with the gold, and the prompt x that both answer (judges read it)."""

    response: str
    gold: str
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """y1 and its baseline score b = f(y1, yG); `score` is None when the scorer failed."""

    prompt_id: str
    text: str
    score: float | None
    finish_reason: FinishReason
    tokens: int
    generations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One (z, y2) sampled for a prompt, with its score, its gain over the draft and what became of it."""

    prompt_id: str
    sample: int
    principle: str
    critique: str | None
    response: str
    score: float | None
    gain: float | None
    status: CandidateStatus
    selected: bool
    principle_id: str | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A selected (x, y1, z, y2): what the M-step learns from. `weight` is 1 in hard EM."""

    prompt_id: str
    sample: int
    messages: tuple[Message, ...]
    draft: str
    principle: str
    principle_id: str
    response: str
    gain: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class WeightedPrinciple:
    """A distinct principle text (exact duplicates merged) and how many selected trajectories state it."""

    principle_id: str
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One chat to train on. `trained` lists the indices of `messages` whose content carries the loss, in
    order: z and y2 (and y1 where the switch says so); every other turn is context."""

    prompt_id: str
    sample: int
    principle: str
    messages: tuple[Message, ...]
    trained: tuple[int, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What a trainer needs: rows, where the weights come from, where the checkpoint goes, where it works."""

    rows: tuple[TrainingRow, ...]
    model_in: str
    model_out: str
    work_dir: str
    seed: int


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came of a training job: steps, tokens seen and tokens carrying loss (over all epochs), losses; the loss
    on the rows held out and the step it was reached at, if any were: the best where the best weights are kept."""

    model_out: str
    steps: int
    tokens: int
    trained_tokens: int
    first_loss: float
    last_loss: float
    seconds: float
    validation_loss: float | None = None
    best_step: int | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval over n prompts or votes."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Member:
    """A principle in a cluster: its count in trajectories and its cosine distance to the cluster's mean."""

    principle_id: str
    count: int
    distance: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of principles with one representative text. `cluster_id` is never reused nor renumbered."""

    cluster_id: str
    label: str
    medoid_principle_id: str
    members: tuple[Member, ...]
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merge:
    """One step of the dendrogram: nodes 0..n-1 are the principles in the clustering's order, node n+i is the
    result of merge i (as in scipy's linkage matrix); `size` counts distinct principles."""

    left: int
    right: int
    distance: float
    size: int


@dataclass(frozen=True, slots=True)
class Clustering:
    """What the cluster stage found. `order` lists the principle ids that the merges and coordinates refer to,
    sorted, so that the result does not depend on the row order; `unclustered` are BERTopic's outliers."""

    clusters: tuple[Cluster, ...]
    order: tuple[str, ...]
    merges: tuple[Merge, ...]
    coordinates: tuple[tuple[float, float], ...]
    unclustered: tuple[Member, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
