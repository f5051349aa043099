"""Corpora: a data file becomes validated examples (prompt turns, gold response, split). Writes nothing.

`importing` is the way in; `reading` and `tables` turn files into rows, `formats` turns rows into prompts and
golds, `chats` and `rows` hold the checks, `splits` the held-out split, `contamination` the comparison with
benchmarks. Knows no store, model or setting.
"""

from lpd_core.corpus.contamination import (
    BenchmarkPrompt,
    Contamination,
    find_contamination,
    prompts_as_benchmark,
    read_benchmark,
)
from lpd_core.corpus.formats import FORMATS
from lpd_core.corpus.importing import FIELDS, Corpus, read_corpus
from lpd_core.corpus.reading import MAX_ROW_BYTES
from lpd_core.corpus.rows import Problem
from lpd_core.corpus.splits import SPLITS, content_key, split_of

__all__ = [
    "FIELDS",
    "FORMATS",
    "MAX_ROW_BYTES",
    "SPLITS",
    "BenchmarkPrompt",
    "Contamination",
    "Corpus",
    "Problem",
    "content_key",
    "find_contamination",
    "prompts_as_benchmark",
    "read_benchmark",
    "read_corpus",
    "split_of",
]
