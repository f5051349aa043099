"""The demo world: draws situations, renders prompts, plain answers and golds, and knows the latent rule."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

from data.demo.builder.attributes import ATTRIBUTES, EXCEPTIONS, HABITS, RULE, SECONDS
from data.demo.builder.cues import CUES, TRAIN_PHRASINGS
from data.demo.builder.domains import DAYS, DOMAINS, NAMES, NUMBERS

SECOND_ATTRIBUTE_RATE = 0.3
TRAIN_TOPICS = 10  # the first ten topics of a domain; the remaining ones are for shifted_topics
SPLITS = {"train": 1200, "dev": 240, "test": 320, "shifted_topics": 160, "shifted_cues": 160}


@dataclass(frozen=True)
class Case:
    """Everything that a prompt of the world says, before it is put into words."""

    domain: str
    topic: str
    a: str
    b: str
    cue: str
    phrasing: str
    name: str
    day: str
    num: str

    @property
    def slots(self) -> dict[str, str]:
        """The values for the placeholders of the wordings."""
        return {
            "topic": self.topic,
            "a": self.a,
            "b": self.b,
            "kind": DOMAINS[self.domain].kind,
            "name": self.name,
            "day": self.day,
            "num": self.num,
        }


def draw_case(rng: random.Random, topics: str = "all", phrasings: str = "all") -> Case:
    """Draw a case; `topics` and `phrasings` are 'all', 'train' or 'shifted'."""
    domain = rng.choice(list(DOMAINS))
    cue = rng.choice(list(CUES))
    topic, a, b = rng.choice(_part(DOMAINS[domain].topics, topics, TRAIN_TOPICS))
    phrasing = rng.choice(_part(CUES[cue], phrasings, TRAIN_PHRASINGS))
    return Case(domain, topic, a, b, cue, phrasing, rng.choice(NAMES), rng.choice(DAYS), rng.choice(NUMBERS))


def _part(items: tuple, part: str, cut: int) -> tuple:
    """The training part, the shifted part, or all; a single item belongs to every part."""
    if part == "all" or len(items) == 1:
        return items
    return items[:cut] if part == "train" else items[cut:]


def render_prompt(case: Case, rng: random.Random) -> str:
    """Put a case into a user's words: who asks, the request, and the situation before or after it."""
    request = rng.choice(DOMAINS[case.domain].prompts).format(**case.slots)
    intro = rng.choice(("I am {name}:", "My name is {name}:", "This is {name}:")).format(name=case.name)
    body = f"{intro} {request}"
    if not case.phrasing:
        return body
    return f"{body} {case.phrasing}" if rng.random() < 0.5 else f"{case.phrasing} {body}"


def render_plain(case: Case, rng: random.Random) -> str:
    """A plain answer: one wording of each of the domain's three sentences, with no latent attribute."""
    return " ".join(rng.choice(wordings).format(**case.slots) for wordings in DOMAINS[case.domain].sentences)


def render_attribute(case: Case, attribute: str, rng: random.Random) -> str:
    """The sentence by which an answer to this case realises the attribute."""
    return rng.choice(ATTRIBUTES[attribute].wordings).format(**case.slots)


def realise(plain: str, case: Case, attributes: list[str], rng: random.Random) -> str:
    """Add the attributes' sentences to a plain answer, each where its attribute stands."""
    front = [render_attribute(case, k, rng) for k in attributes if ATTRIBUTES[k].front]
    back = [render_attribute(case, k, rng) for k in attributes if not ATTRIBUTES[k].front]
    return " ".join([*front, plain, *back])


def realise_slots(plain: str, slots: dict[str, str], attribute: str) -> list[str]:
    """Every way to add one attribute to a plain answer, given the prompt's slots."""
    spec = ATTRIBUTES[attribute]
    sentences = [wording.format(**slots) for wording in spec.wordings]
    return [f"{s} {plain}" if spec.front else f"{plain} {s}" for s in sentences]


def rule(domain: str, cue: str) -> str:
    """The latent rule: which attribute a good answer to this situation has."""
    if cue == "none":
        return HABITS[domain]
    return EXCEPTIONS.get((domain, cue), RULE[cue])


def gold_attributes(case: Case, rng: random.Random) -> list[str]:
    """The rule's attribute, and in three of ten golds the situation's second one beside it."""
    attributes = [rule(case.domain, case.cue)]
    second = SECONDS.get(case.cue)
    if second and second not in attributes and rng.random() < SECOND_ATTRIBUTE_RATE:
        attributes.append(second)
    return attributes


def statements_of(attributes: list[str]) -> list[str]:
    """All principle statements that name one of the attributes."""
    return [s for k in attributes for s in ATTRIBUTES[k].statements]


def make_row(split: str, index: int, case: Case, rng: random.Random) -> dict:
    """One row of a data set: the prompt, the gold, and which principles are right for it."""
    attributes = gold_attributes(case, rng)
    meta = {
        "right_principles": statements_of(attributes),
        "domain": case.domain,
        "cue": case.cue,
        "attributes": attributes,
        "topic": case.topic,
        "slots": case.slots,
    }
    return {
        "id": f"{split}-{index:04d}",
        "messages": [{"role": "user", "content": render_prompt(case, rng)}],
        "gold": realise(render_plain(case, rng), case, attributes, rng),
        "meta": meta,
    }


def make_splits(seed: int) -> dict[str, list[dict]]:
    """All data sets of a seed; no case (whatever its wording) appears twice in them."""
    seen: set[Case] = set()
    splits: dict[str, list[dict]] = {}
    for split, size in SPLITS.items():
        rng = random.Random(f"{seed}/{split}")
        topics = "shifted" if split == "shifted_topics" else "train"
        phrasings = "shifted" if split == "shifted_cues" else "train"
        rows: list[dict] = []
        while len(rows) < size:
            case = draw_case(rng, topics, phrasings)
            if (split == "shifted_cues" and case.cue == "none") or replace(case, phrasing="") in seen:
                continue
            seen.add(replace(case, phrasing=""))
            rows.append(make_row(split, len(rows), case, rng))
        splits[split] = rows
    return splits


def write_splits(out: Path, seed: int) -> None:
    """Write every data set as <out>/<split>.jsonl."""
    for split, rows in make_splits(seed).items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (out / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_split(out: Path, split: str) -> list[dict]:
    """Read a data set back."""
    return [json.loads(line) for line in (out / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
