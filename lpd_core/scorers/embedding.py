"""f as the cosine of sentence embeddings, mapped to [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lpd_core.parts import Embedder
from lpd_core.types import Pair


class EmbeddingScorer:
    """(1 + cosine) / 2 of response and gold. The embedder is made when first needed."""

    def __init__(self, embedder: Callable[[], Embedder]):
        self._make = embedder
        self._embedder: Embedder | None = None

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """f in [0, 1] for each pair; 0.0 where either side is blank, as Rouge-L has it. Never None."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair[:2] if text.strip()))
        if not texts:
            return [0.0] * len(pairs)
        self._embedder = self._embedder or self._make()
        vectors = dict(zip(texts, self._embedder.embed(texts), strict=True))
        return [
            (1.0 + min(1.0, max(-1.0, float(vectors[response] @ vectors[gold])))) / 2.0
            if response.strip() and gold.strip()
            else 0.0
            for response, gold in (pair[:2] for pair in pairs)
        ]
