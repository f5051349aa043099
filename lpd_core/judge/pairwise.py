"""Comparisons of two responses in both orders: agreement, ties, failures and the judge's liking for a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lpd_core.judge.asking import Judge, Question
from lpd_core.judge.prompts import JudgePrompts
from lpd_core.judge.verdicts import Verdict
from lpd_core.metrics import interval
from lpd_core.types import Interval, Message

POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}
AS_SHOWN = {"first": "a", "second": "b", "tie": "tie"}
TURNED = {"first": "b", "second": "a", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two responses, of systems a and b, to one conversation; `key` finds it again."""

    key: str
    messages: tuple[Message, ...]
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class PairJudgement:
    """The verdicts on a pairing, a vote each: with a shown first (`forward`), with b shown first (`backward`;
    empty where only one order was asked)."""

    key: str
    forward: tuple[Verdict, ...]
    backward: tuple[Verdict, ...]

    @property
    def outcomes(self) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
        """ "a", "b", "tie" or None of each verdict, forward and backward, in terms of the systems."""
        return (
            tuple(AS_SHOWN.get(verdict.value or "") for verdict in self.forward),
            tuple(TURNED.get(verdict.value or "") for verdict in self.backward),
        )

    @property
    def share(self) -> float | None:
        """The share of verdicts that a wins, a tie half, the orders weighing the same; None where an order that
        was asked has no verdict."""
        shares = []
        for outcomes in filter(None, self.outcomes):
            points = [POINTS[outcome] for outcome in outcomes if outcome]
            if not points:
                return None
            shares.append(sum(points) / len(points))
        return sum(shares) / len(shares) if shares else None

    @property
    def outcome(self) -> str | None:
        """Who wins: "a" or "b" with more than half of the verdicts, else "tie"; None where unjudged. With one vote, a
        judge whose verdict turns with the order gives a tie."""
        if self.share is None:
            return None
        return "tie" if self.share == 0.5 else "a" if self.share > 0.5 else "b"

    @property
    def agrees(self) -> bool | None:
        """Whether both orders gave the same outcome in every vote; None where a verdict or an order is missing."""
        forward, backward = self.outcomes
        if not backward or None in forward or None in backward:
            return None
        return forward == backward


@dataclass(frozen=True, slots=True)
class PairSummary:
    """What many pairings say of system a against b and of the judge. `win_rate` counts a tie half, over the n judged
    pairings; `order_bias` is the share of the verdicts for one side that chose the response shown first, minus
    one half (0 is fair, 0.5 always the first), over pairings judged in both orders; NaN where there are none."""

    pairings: int
    win_rate: Interval
    wins: int
    losses: int
    ties: int
    unjudged: int
    verdicts: int
    failed_verdicts: int
    tied_verdicts: int
    agreement: float
    order_bias: float


def pairwise_judgements(
    judge: Judge,
    prompts: JudgePrompts,
    pairings: Sequence[Pairing],
    votes: int = 1,
    both_orders: bool = True,
) -> list[PairJudgement]:
    """`votes` verdicts on each pairing in each order."""
    questions = []
    for pairing in pairings:
        orders = [(pairing.a, pairing.b), (pairing.b, pairing.a)][: 2 if both_orders else 1]
        questions += [
            Question(prompts.compare(pairing.messages, *order), "choice", vote)
            for order in orders
            for vote in range(votes)
        ]
    verdicts = judge.ask(questions)
    size = votes * (2 if both_orders else 1)
    parts = [tuple(verdicts[n * size : (n + 1) * size]) for n in range(len(pairings))]
    return [
        PairJudgement(pairing.key, part[:votes], part[votes:])
        for pairing, part in zip(pairings, parts, strict=True)
    ]


def summarise_pairs(judgements: Sequence[PairJudgement]) -> PairSummary:
    """Wins, ties, failures, agreement and order bias of judgements, nothing guessed where a verdict is missing."""
    outcomes = [judgement.outcome for judgement in judgements]
    verdicts = [v for judgement in judgements for v in (*judgement.forward, *judgement.backward)]
    agreeing = [j.agrees for j in judgements if j.agrees is not None]
    both = [j for j in judgements if j.agrees is not None]
    decided = [v.value for j in both for v in (*j.forward, *j.backward) if v.value != "tie"]
    return PairSummary(
        pairings=len(judgements),
        win_rate=interval([j.share for j in judgements if j.share is not None]),
        wins=outcomes.count("a"),
        losses=outcomes.count("b"),
        ties=outcomes.count("tie"),
        unjudged=outcomes.count(None),
        verdicts=len(verdicts),
        failed_verdicts=sum(v.value is None for v in verdicts),
        tied_verdicts=sum(v.value == "tie" for v in verdicts),
        agreement=sum(agreeing) / len(agreeing) if agreeing else float("nan"),
        order_bias=decided.count("first") / len(decided) - 0.5 if decided else float("nan"),
    )
