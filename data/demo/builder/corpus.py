"""The pretraining conversations. Attributes are always drawn uniformly, independently of the prompt."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from data.demo.builder.attributes import ATTRIBUTES
from data.demo.builder.cues import CUES, SITUATIONS
from data.demo.builder.world import Case, draw_case, realise, render_attribute, render_plain, render_prompt

TEMPLATES = Path(__file__).resolve().parents[3] / "lpd_core" / "templates"
DESCRIBE = "Describe the situation of the user in one short sentence."
PROPOSE_NOISE = 0.08  # share of wrong principles under the hint, in the last third of pretraining only
SECOND_IN_HINT = 0.3
DRAFT_WEIGHT = 0.5  # drafts stand in most conversations, hinted principles in few and are short
HINTED_WEIGHT = 3.0
KINDS = {
    "refine": 0.34,
    "propose": 0.2,
    "rule": 0.18,
    "situation": 0.1,
    "write": 0.08,
    "recognise": 0.06,
    "reword": 0.04,
}


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    role: str
    content: str
    weight: float = 1.0  # of an assistant turn's tokens in the pretraining loss


def template(name: str) -> str:
    """A prompt template of the engine, without its trailing newline."""
    return (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


PRINCIPLE_CUE = template("principle_cue")
PROPOSE = template("propose")
REFINE_CUE = template("refine_cue")


def fill(text: str, **values: str) -> str:
    """Replace {key} by its value in one pass, so that braces in a value stay as they are."""
    parts = [text]
    for key, value in values.items():
        parts = [p for part in parts for p in _around(part, "{" + key + "}", value)]
    return "".join(parts)


def _around(part: str, mark: str, value: str) -> list[str]:
    """Split a part at the mark and put the value between."""
    before, found, after = part.partition(mark)
    return [before, value, after] if found else [part]


def draft_turns(x: str, y1: str) -> list[Turn]:
    """user x, assistant y1."""
    return [Turn("user", x), Turn("assistant", y1, DRAFT_WEIGHT)]


def propose_turns(x: str, y1: str, gold: str, z: str | None = None) -> list[Turn]:
    """The hinted chat; ends with z where it is given."""
    turns = [*draft_turns(x, y1), Turn("user", fill(PROPOSE, gold=gold))]
    return turns if z is None else [*turns, Turn("assistant", z, HINTED_WEIGHT)]


def principle_turns(x: str, y1: str, z: str | None = None) -> list[Turn]:
    """The chat without a hint; ends with z where it is given."""
    turns = [*draft_turns(x, y1), Turn("user", PRINCIPLE_CUE)]
    return turns if z is None else [*turns, Turn("assistant", z)]


def refine_turns(x: str, y1: str, z: str, y2: str | None = None) -> list[Turn]:
    """The whole chain; ends with y2 where it is given."""
    turns = [*principle_turns(x, y1, z), Turn("user", fill(REFINE_CUE, principle=z))]
    return turns if y2 is None else [*turns, Turn("assistant", y2)]


def draw_statement(rng: random.Random) -> tuple[str, str]:
    """A uniformly drawn attribute and one of its statements."""
    key = rng.choice(list(ATTRIBUTES))
    return key, rng.choice(ATTRIBUTES[key].statements)


def conversation(rng: random.Random, progress: float, held_out: frozenset[str] = frozenset()) -> list[Turn]:
    """Draw a pretraining conversation; `progress` in [0, 1] says how far pretraining has come."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    case = draw_case(rng)
    x = render_prompt(case, rng)
    while x in held_out:
        case = draw_case(rng)
        x = render_prompt(case, rng)
    return _MAKERS[kind](case, x, rng, progress)


def _refine(case: Case, x: str, rng: random.Random, progress: float) -> list[Turn]:
    """A random principle without a hint, and the draft edited by it."""
    y1 = render_plain(case, rng)
    key, z = draw_statement(rng)
    return refine_turns(x, y1, z, realise(y1, case, [key], rng))


def _propose(case: Case, x: str, rng: random.Random, progress: float) -> list[Turn]:
    """A better answer with random attributes as the hint, and a principle that it follows."""
    count = 2 if rng.random() < SECOND_IN_HINT else 1
    keys = rng.sample(list(ATTRIBUTES), count)
    gold = realise(render_plain(case, rng), case, keys, rng)
    z = rng.choice(ATTRIBUTES[rng.choice(keys)].statements)
    if progress > 2 / 3 and rng.random() < PROPOSE_NOISE:
        z = draw_statement(rng)[1]
    return propose_turns(x, render_plain(case, rng), gold, z)


def _rule(case: Case, x: str, rng: random.Random, progress: float) -> list[Turn]:
    """A random rule in the context: which principle for which of two situations, one of them the user's."""
    cues = [case.cue, rng.choice([cue for cue in CUES if cue != case.cue])]
    pairs = zip(cues, rng.sample(list(ATTRIBUTES), 2), strict=True)
    told = [(SITUATIONS[cue].rstrip("."), rng.choice(ATTRIBUTES[key].statements)) for cue, key in pairs]
    rules = [f"{situation}: {z}" for situation, z in told]
    rng.shuffle(rules)
    turns = principle_turns(" ".join(rules) + f"\n{x}", render_plain(case, rng))
    return [*turns, Turn("assistant", told[0][1], HINTED_WEIGHT)]


def _situation(case: Case, x: str, rng: random.Random, progress: float) -> list[Turn]:
    """Short task: describe the situation, right after the prompt or after the draft."""
    before = draft_turns(x, render_plain(case, rng)) if rng.random() < 0.5 else []
    ask = DESCRIBE if before else f"{DESCRIBE}\n{x}"
    return [*before, Turn("user", ask), Turn("assistant", SITUATIONS[case.cue])]


def _write(case: Case, x: str, rng: random.Random, progress: float) -> list[Turn]:
    """Short task: the one sentence that a principle adds to the answer to a prompt."""
    key, z = draw_statement(rng)
    ask = f"{x}\nWrite only one sentence that follows this principle: {z}"
    return [Turn("user", ask), Turn("assistant", render_attribute(case, key, rng))]


def _recognise(case: Case, x: str, rng: random.Random, progress: float) -> list[Turn]:
    """Short task: the principle that one sentence follows."""
    key, z = draw_statement(rng)
    ask = f"Which principle does this sentence follow? {render_attribute(case, key, rng)}"
    return [Turn("user", ask), Turn("assistant", z)]


def _reword(case: Case, x: str, rng: random.Random, progress: float) -> list[Turn]:
    """Short task: two statements of the same principle."""
    key, z = draw_statement(rng)
    return [
        Turn("user", f"Say this principle in other words: {z}"),
        Turn("assistant", rng.choice(ATTRIBUTES[key].statements)),
    ]


_MAKERS = {
    "refine": _refine,
    "propose": _propose,
    "rule": _rule,
    "situation": _situation,
    "write": _write,
    "recognise": _recognise,
    "reword": _reword,
}
