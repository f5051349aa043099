"""IFEval's rule-based accuracy through the checkers that lm-evaluation-harness maintains; nothing is checked here.

The checkers split sentences with NLTK's punkt. Where its data is not installed, the small parameters in `data/punkt`
stand in: our own abbreviations, no collocations; the counts of number_sentences and capital_word_frequency may then
differ from the official ones in rare texts, and `sentence_splitter` says which was used. Language detection is
statistical; its seed is fixed.

Jeffrey Zhou et al. 2023, https://arxiv.org/abs/2311.07911
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lpd_core.config import PROJECT
from lpd_core.errors import DataError, UserError
from lpd_core.metrics import interval, wilson
from lpd_core.types import Generation

BENCHMARK = "ifeval"
PUNKT = PROJECT / "data" / "punkt"
MISSING = "IFEval's checkers are not installed: pip install -r requirements-eval.txt"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One of IFEval's prompts: the ids of its instructions, and each one's arguments."""

    key: int
    prompt: str
    instruction_id_list: tuple[str, ...]
    kwargs: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """Which instructions of a prompt a response follows, strictly and loosely, in their order."""

    key: int
    instructions: tuple[str, ...]
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of IFEval's own JSONL file. Raises `DataError` naming the line that is none."""
    prompts = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(f"cannot read {path}: {cause}") from cause
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            ids, kwargs = tuple(row["instruction_id_list"]), tuple(row["kwargs"])
            prompts.append(Prompt(int(row["key"]), str(row["prompt"]), ids, kwargs))
        except (ValueError, KeyError, TypeError) as cause:
            raise DataError(
                f"{path}, line {number}: no IFEval prompt ({cause!r}); key, prompt, instruction_id_list and kwargs "
                "are needed"
            ) from cause
    return prompts


def check_response(prompt: Prompt, response: str) -> Checked:
    """The official verdicts on one response. Raises `UserError` where the checkers are not installed."""
    utils = _checkers()
    document = {**asdict(prompt), "instruction_id_list": list(prompt.instruction_id_list)}
    before = random.getstate()
    random.seed(prompt.key)  # an argument that a prompt leaves open is drawn by the checkers
    try:
        found = utils.process_results(document, [response])
    finally:
        random.setstate(before)
    return Checked(
        prompt.key,
        prompt.instruction_id_list,
        tuple(map(bool, found["inst_level_strict_acc"])),
        tuple(map(bool, found["inst_level_loose_acc"])),
    )


@cache
def _checkers() -> Any:
    """lm-evaluation-harness' module, with sentence data that needs no network and a fixed language detector."""
    try:
        import nltk

        if str(PUNKT) not in nltk.data.path:
            nltk.data.path.append(str(PUNKT))  # last, so that the official data goes first
        from langdetect import DetectorFactory
        from lm_eval.tasks.ifeval import utils
    except ImportError as cause:
        raise UserError(MISSING) from cause
    DetectorFactory.seed = 0
    return utils


def sentence_splitter() -> str:
    """Where the sentence data comes from: "official punkt_tab" or "shipped stand-in"."""
    _checkers()
    import nltk

    found = Path(str(nltk.data.find("tokenizers/punkt_tab/english")))
    return "shipped stand-in" if found.is_relative_to(PUNKT) else "official punkt_tab"


def accuracies(checked: Sequence[Checked | None]) -> dict[str, Any]:
    """Prompt-level and instruction-level accuracy, strict and loose, and that of each instruction type.

    Prompt level has Wilson's interval; the instructions of one prompt depend on each other, so instruction level has the
    bootstrap interval of its prompts' shares as a guide. None is a prompt without a response: counted as
    `unanswered`, left out of the rates."""
    answered = [each for each in checked if each is not None]
    told: dict[str, Any] = {"unanswered": len(checked) - len(answered), "types": {}}
    for kind in ("strict", "loose"):
        verdicts = [getattr(each, kind) for each in answered]
        passed = [all(row) for row in verdicts]
        share = sum(passed) / len(passed) if passed else 0.0
        told[f"prompt_{kind}"] = asdict(wilson(share, len(passed)))
        flat = [followed for row in verdicts for followed in row]
        spread = asdict(interval([sum(row) / len(row) for row in verdicts if row]))
        mean = sum(flat) / len(flat) if flat else float("nan")
        told[f"instruction_{kind}"] = {**spread, "mean": mean, "instructions": len(flat)}
        for each, row in zip(answered, verdicts, strict=True):
            for name, followed in zip(each.instructions, row, strict=True):
                told["types"].setdefault(name, {"strict": [], "loose": []})[kind].append(followed)
    for name, rows in told["types"].items():
        told["types"][name] = {k: asdict(wilson(sum(v) / len(v), len(v))) for k, v in rows.items()}
    return told


def stored_row(
    system: str, prompt: Prompt, principle: str, answer: Generation, splitter: str
) -> dict[str, Any]:
    """An answer with its verdicts as a row of `evaluations`: 1 as score where every instruction is followed strictly, None
    where there is no answer."""
    failed = answer.finish_reason in ("error", "overlong")
    checked = None if failed else check_response(prompt, answer.text)
    verdict = {
        "question": prompt.prompt,
        "instructions": prompt.instruction_id_list,
        "strict": checked.strict if checked else None,
        "loose": checked.loose if checked else None,
        "sentences": splitter,
        "error": (answer.error or f"the prompt is {answer.finish_reason}") if failed else "",
    }
    return {
        "prompt_id": f"{BENCHMARK}:{prompt.key}",
        "system": system,
        "benchmark": BENCHMARK,
        "principle": principle,
        "response": "" if failed else answer.text.strip(),
        "score": float(all(checked.strict)) if checked else None,
        "verdict": json.dumps(verdict, ensure_ascii=False),
    }


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracies of each system from its stored rows, `verdict` decoded, with the splitter of sentences used."""
    systems: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["system"], row["prompt_id"])):
        systems.setdefault(row["system"], []).append(row)
    return {
        name: {**accuracies([_checked(row) for row in own]), "sentences": own[0]["verdict"]["sentences"]}
        for name, own in systems.items()
    }


def _checked(row: Mapping[str, Any]) -> Checked | None:
    told = row["verdict"]
    if told["strict"] is None:
        return None
    return Checked(0, tuple(told["instructions"]), tuple(told["strict"]), tuple(told["loose"]))
