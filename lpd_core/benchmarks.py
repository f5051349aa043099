"""A run's models on benchmarks of others: MT-Bench, AlpacaEval's comparison and IFEval, answered, judged or checked, kept.

Three systems are measured: the base model as it is (M_0 y1), the base model that improves its own answer (M_0 y2, which is
Self-Refine), and the best iteration's refined answer (M_t y2). Each number leads back to its kept answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpd_core import alpaca_eval, ifeval, mt_bench
from lpd_core.build import build_judge, build_sampler
from lpd_core.config import RunConfig
from lpd_core.evaluate import self_correct
from lpd_core.judge import load_prompts
from lpd_core.parts import Sampler
from lpd_core.prompts import load_templates
from lpd_core.stage import model_of
from lpd_core.store import RunFolder, Store, evaluating
from lpd_core.types import Example

Rows = list[dict[str, Any]]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """The run that is measured, its settings (another judge's lie over them), its best iteration, and where to say what
    is done."""

    store: Store
    folder: RunFolder
    config: RunConfig
    best: int
    tell: Tell

    @property
    def systems(self) -> list[tuple[int, str]]:
        """The systems compared, as (iteration, answer)."""
        return [(0, "y1"), (0, "y2"), (self.best, "y2")]

    def templates(self):
        """The run's own prompts."""
        return load_templates(self.folder.prompts(self.config))


def run_mt_bench(bench: Bench, path: Path, references: Path | None = None) -> dict[str, Any]:
    """MT-Bench's questions answered by each system and rated by the judge. Says first how many answers and ratings."""
    questions = mt_bench.read_questions(path, references)
    judge, prompts = _judge(bench)
    turns = sum(len(question.turns) for question in questions) * len(bench.systems)
    bench.tell(
        f"MT-Bench: {turns} answers of {len(bench.systems)} systems, and as many ratings by {judge.name}; ratings kept "
        "before are free"
    )
    digest, templates = mt_bench.prompts_digest(prompts), bench.templates()

    def measure(sampler: Sampler, answer: str, name: str) -> Rows:
        found = mt_bench.answer_questions(questions, sampler, templates, bench.config, answer)
        verdicts = mt_bench.rate_turns(judge, prompts, found)
        return mt_bench.stored_rows(name, judge.name, digest, found, verdicts)

    rows = _measured(bench, mt_bench.BENCHMARK, measure)
    return {"judge": judge.name, "prompts_digest": digest, "systems": mt_bench.summarise(rows)}


def run_alpaca_eval(bench: Bench, path: Path) -> dict[str, Any]:
    """Each system's answers against stored reference outputs, judged in both orders. Says first how many."""
    references = alpaca_eval.read_references(path)
    judge, prompts = _judge(bench)
    asked = len(references) * len(bench.systems)
    bench.tell(
        f"AlpacaEval: {asked} answers of {len(bench.systems)} systems, and {2 * asked} verdicts of {judge.name}; verdicts "
        "kept before are free"
    )
    templates = bench.templates()

    def measure(sampler: Sampler, answer: str, name: str) -> Rows:
        found = alpaca_eval.answer_instructions(references, sampler, templates, bench.config, answer)
        return alpaca_eval.judged_rows(judge, prompts, name, found)

    rows = _measured(bench, alpaca_eval.BENCHMARK, measure)
    return {
        "judge": judge.name,
        "prompts_digest": prompts.digest,
        "against": references[0].generator,
        "systems": alpaca_eval.summarise(rows),
    }


def run_ifeval(bench: Bench, path: Path) -> dict[str, Any]:
    """Each system's answers to IFEval's prompts, through the official checkers."""
    prompts = ifeval.read_prompts(path)
    splitter, templates = ifeval.sentence_splitter(), bench.templates()
    bench.tell(f"IFEval: {len(prompts)} prompts answered by {len(bench.systems)} systems")
    examples = [
        Example("ifeval", f"ifeval:{p.key}", ({"role": "user", "content": p.prompt},), "", "test")
        for p in prompts
    ]

    def measure(sampler: Sampler, answer: str, name: str) -> Rows:
        chains = self_correct(
            examples, sampler, templates, bench.config, ("ifeval",), drafts_only=answer == "y1"
        )
        return [
            ifeval.stored_row(name, prompt, z.text, response, splitter)
            for prompt, (_, z, response) in zip(prompts, chains, strict=True)
        ]

    return ifeval.summarise(_measured(bench, ifeval.BENCHMARK, measure))


def _judge(bench: Bench):
    prompts = load_prompts(bench.config.scoring.judge.rubric)
    return build_judge(bench.config, bench.store.cache), prompts


def _measured(bench: Bench, benchmark: str, measure: Callable[[Sampler, str, str], Rows]) -> Rows:
    """Every system's rows as they are kept, `verdict` decoded."""
    found: Rows = []
    for iteration, answer in bench.systems:
        name = f"M_{iteration} {answer}"
        bench.tell(f"{benchmark}: {name}")
        sampler = build_sampler(bench.config, model_of(bench.config, bench.folder, iteration))
        rows = measure(sampler, answer, name)
        evaluating.keep_measured(bench.store, bench.folder, iteration, benchmark, rows)
        found += rows
    return [{**row, "sample": row.get("sample", 0), "verdict": json.loads(row["verdict"])} for row in found]
