"""Blind votes of people on two answers to one prompt, and the stored answers that wait for one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from lpd_core.errors import UserError
from lpd_core.store import mirror
from lpd_core.types import Interval, Message

if TYPE_CHECKING:
    from lpd_core.store import Store

Verdict = Literal["a", "b", "tie", "both_bad"]
VERDICTS: tuple[Verdict, ...] = Verdict.__args__
ANSWERS = ("y1", "y2")
SIDE_A, SIDE_B = ((f"(v.iteration_{each}, v.answer_{each}, coalesce(v.run_{each}, ''))") for each in "ab")
BOTH_ANSWERED = """from evaluations a join evaluations b using (prompt_id, benchmark)
    where a.run_id = if($ra = '', $run, $ra) and b.run_id = if($rb = '', $run, $rb)
      and a.iteration = $a and b.iteration = $b
      and a.system in ('base', 'staple', 'star', 'gold') and b.system in ('base', 'staple', 'star', 'gold')
      and a.sample = 0 and b.sample = 0"""
"""The held-out prompts that two systems have answered."""


@dataclass(frozen=True, slots=True, order=True)
class System:
    """What is voted on: an iteration of a run (0 is the base model) and which of its answers, y1 or y2. `run` is empty for
    the run that the vote belongs to."""

    iteration: int
    answer: str = "y2"
    run: str = ""


@dataclass(frozen=True, slots=True)
class Ballot:
    """Two answers to one prompt, side A first. `prompt_id` is None for a prompt that somebody wrote."""

    run_id: str
    prompt_id: str | None
    messages: tuple[Message, ...]
    systems: tuple[System, System]
    responses: tuple[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    gold: str = ""

    def swapped(self) -> Ballot:
        """The same with the sides exchanged."""
        return replace(self, systems=self.systems[::-1], responses=self.responses[::-1])


@dataclass(frozen=True, slots=True)
class Tally:
    """What one voter said of a system against another: how often which was better, and how often side A was."""

    voter: str
    system: System
    other: System
    wins: int
    losses: int
    ties: int
    both_bad: int
    chose_a: int

    @property
    def n(self) -> int:
        """How many votes."""
        return self.wins + self.losses + self.ties + self.both_bad

    def win_rate(self) -> Interval:
        """The share of votes for the system with its Wilson interval; a tie and `both bad` count half."""
        from lpd_core.metrics import wilson

        return wilson((self.wins + (self.ties + self.both_bad) / 2) / self.n if self.n else 0.0, self.n)


def together(tallies: Sequence[Tally], voter: str = "everybody") -> Tally:
    """The votes of several voters on one pair of systems, added up."""
    first = tallies[0]
    names = ("wins", "losses", "ties", "both_bad", "chose_a")
    sums = {name: sum(getattr(tally, name) for tally in tallies) for name in names}
    return Tally(voter, first.system, first.other, **sums)


def record(store: Store, ballot: Ballot, voter: str, verdict: Verdict) -> str:
    """Keep a vote; its id. Raises `UserError` for a verdict or an answer that there is not."""
    if verdict not in VERDICTS:
        raise UserError(f"no verdict {verdict!r}; allowed: {', '.join(VERDICTS)}")
    if ballot.systems[0] == ballot.systems[1] or any(s.answer not in ANSWERS for s in ballot.systems):
        raise UserError(f"a vote needs two different systems with the answers {' or '.join(ANSWERS)}")
    vote_id = uuid.uuid4().hex
    a, b = ballot.systems
    statement = """insert into votes (vote_id, run_id, voter, "at", prompt_id, prompt, iteration_a, answer_a, response_a,
               iteration_b, answer_b, response_b, verdict, settings, run_a, run_b)
           values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
    values = [
            vote_id, ballot.run_id, voter, datetime.now(UTC), ballot.prompt_id,
            json.dumps([dict(message) for message in ballot.messages]),
            a.iteration, a.answer, ballot.responses[0],
            b.iteration, b.answer, ballot.responses[1], verdict, json.dumps(dict(ballot.settings)),
            a.run or None, b.run or None,
    ]  # fmt: skip
    with store.database.write() as connection:
        connection.execute(statement, values)
        mirror.keep_run(store, ballot.run_id, "votes", connection=connection)
    return vote_id


def systems_elsewhere(store: Store) -> set[str]:
    """The ids of the runs whose answers stand in another run's votes, which outlive them."""
    rows = store.database.query(
        "select unnest([run_a, run_b]) as run from votes where run_a is not null or run_b is not null"
    )
    return {row["run"] for row in rows if row["run"]}


def tallies(store: Store, run_id: str) -> list[Tally]:
    """A run's votes by pair of systems and voter, the later iteration of a pair first."""
    rows = store.database.query(
        f"""with sides as (select voter, verdict, {SIDE_A} a, {SIDE_B} b from votes v where run_id = ?),
           turned as (select voter, verdict, a > b as straight, greatest(a, b) as high, least(a, b) as low from sides)
           select voter, high[1] hi, high[2] ha, high[3] hr, low[1] li, low[2] la, low[3] lr,
                  count(*) filter (where verdict = if(straight, 'a', 'b')) wins,
                  count(*) filter (where verdict = if(straight, 'b', 'a')) losses,
                  count(*) filter (where verdict = 'tie') ties,
                  count(*) filter (where verdict = 'both_bad') both_bad,
                  count(*) filter (where verdict = 'a') chose_a
           from turned group by all order by hi desc, ha desc, hr, li, la, lr, voter""",
        [run_id],
    )
    return [
        Tally(
            row["voter"],
            System(row["hi"], row["ha"], row["hr"]),
            System(row["li"], row["la"], row["lr"]),
            *(row[name] for name in ("wins", "losses", "ties", "both_bad", "chose_a")),
        )
        for row in rows
    ]


def on_stored_answers(store: Store, run_id: str, limit: int = 100_000) -> list[dict[str, Any]]:
    """The votes on stored held-out answers, without texts: voter, prompt_id, verdict, and both sides as `System`. Answers
    that were generated for a vote are left out: no judge has seen them."""
    rows = store.database.query(
        """select voter, prompt_id, verdict, iteration_a, answer_a, run_a, iteration_b, answer_b, run_b from votes
           where run_id = ? and settings->>'source' = 'heldout' order by "at", vote_id limit ?""",
        [run_id, limit],
    )
    return [
        {
            "voter": row["voter"],
            "prompt_id": row["prompt_id"],
            "verdict": row["verdict"],
            "a": system_of(row, "a"),
            "b": system_of(row, "b"),
        }
        for row in rows
    ]


def system_of(row: Mapping[str, Any], side: Literal["a", "b"]) -> System:
    """What stood on a side of a vote, from its row."""
    return System(row[f"iteration_{side}"], row[f"answer_{side}"], row[f"run_{side}"] or "")


def listed(store: Store, run_id: str, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    """A run's votes, newest first, with their texts."""
    return store.database.query(
        """select * from votes where run_id = ? order by "at" desc, vote_id limit ? offset ?""",
        [run_id, limit, offset],
    )


def next_ballot(
    store: Store, run_id: str, systems: tuple[System, System], voter: str, passed: Sequence[str] = ()
) -> Ballot | None:
    """The stored held-out answers of two systems to a prompt that the voter has not judged for this pair, without the
    prompts in `passed`; those that a judge has compared come first, each kind in an order of the voter's own. None when
    all are judged."""
    columns = [{"y1": "draft", "y2": "response"}[system.answer] for system in systems]
    rows = store.database.query(
        f"""select a.prompt_id, a.{columns[0]} response_a, b.{columns[1]} response_b, a.benchmark
            {BOTH_ANSWERED} and not list_contains($passed::text[], a.prompt_id)
              and not exists (select 1 from votes v where v.run_id = $run and v.voter = $voter
                  and v.prompt_id = a.prompt_id
                  and least({SIDE_A}, {SIDE_B}) = least(($a::integer, $ya, $ra), ($b::integer, $yb, $rb))
                  and greatest({SIDE_A}, {SIDE_B}) = greatest(($a::integer, $ya, $ra), ($b::integer, $yb, $rb)))
            order by a.prompt_id in (select prompt_id from evaluations where run_id = $run
                and iteration = greatest($a, $b) and benchmark like 'judge:M!_% over %' escape '!') desc,
                md5(a.prompt_id || $voter) limit 1""",
        {
            "run": run_id, "voter": voter, "passed": list(passed), **_sides(systems),
            "ya": systems[0].answer, "yb": systems[1].answer,
        },
    )  # fmt: skip
    if not rows:
        return None
    found = rows[0]
    prompt = store.database.query(
        "select messages, gold from prompts where prompt_id = ? limit 1", [found["prompt_id"]]
    )[0]
    return Ballot(
        run_id,
        found["prompt_id"],
        tuple(json.loads(prompt["messages"])),
        systems,
        (found["response_a"] or "", found["response_b"] or ""),
        {"source": "heldout", "benchmark": found["benchmark"]},
        prompt["gold"],
    )


def heldout_count(store: Store, run_id: str, systems: tuple[System, System]) -> int:
    """How many held-out prompts both systems have answered."""
    return store.database.query(f"select count(*) n {BOTH_ANSWERED}", {"run": run_id, **_sides(systems)})[0][
        "n"
    ]


def _sides(systems: tuple[System, System]) -> dict[str, Any]:
    a, b = systems
    return {"a": a.iteration, "b": b.iteration, "ra": a.run, "rb": b.run}
