"""Speed of Rouge-L beside the rouge_score package: `python -m bench.scoring`.

Scores the same pairs of 300 words with both, tokenising included, each text met for the first time, and
prints CPU milliseconds a pair, their ratio and the largest difference of the scores.
"""

from __future__ import annotations

import random
import time

from rouge_score.rouge_scorer import RougeScorer

from lpd_core.scoring import RougeL

WORDS, PAIRS, SLOW_PAIRS = 300, 4000, 40
SYLLABLES = "ba con der fi gra hel in jo ka lum mor nes op pre qui re sta tur un ver wil yo zen".split()
SUFFIXES = ("", "", "", "s", "ed", "ing", "ly", "ation", "ness", "able")


def random_texts(count: int) -> list[str]:
    """Texts of 300 made-up words, of which few are frequent and most are rare, with English endings."""
    chance = random.Random(0)
    stems = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(3000)]
    words = [stem + suffix for stem in stems for suffix in chance.sample(SUFFIXES, 3)]
    rarity = [1 / (rank + 10) for rank in range(len(words))]
    return [" ".join(chance.choices(words, rarity, k=WORDS)) + "." for _ in range(count)]


def main() -> None:
    texts = random_texts(2 * PAIRS)
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    for stemmer in (False, True):
        reference = RougeScorer(["rougeL"], use_stemmer=stemmer)
        # One pair first, so that neither side's imports count.
        reference.score("warm", "up")
        ours = RougeL(stemmer)
        ours.score([("warm", "up")])
        start = time.process_time()
        theirs = [reference.score(gold, response)["rougeL"].fmeasure for response, gold in pairs[:SLOW_PAIRS]]
        slow = (time.process_time() - start) / SLOW_PAIRS * 1e3
        start = time.process_time()
        scores = ours.score(pairs)
        fast = (time.process_time() - start) / PAIRS * 1e3
        apart = max(abs(a - b) for a, b in zip(scores, theirs, strict=False))
        print(
            f"stemmer {'on ' if stemmer else 'off'}: rouge_score {slow:.2f} ms, ours {fast:.4f} ms a pair of "
            f"{WORDS} words: {slow / fast:.0f} times faster (bar: 50); largest difference {apart:.1e}"
        )


if __name__ == "__main__":
    main()
