"""Corpora: a data file becomes validated examples (prompt turns, gold response, split). Writes nothing.

`importing` is the way in, `inspection` looks before; `reading`, `tables` and `readers` turn files into rows,
`formats`, `comparisons` and `benchmarks` turn rows into prompts and golds, `filtering` leaves some out, `chats` and
`rows` hold the checks, `splits` the held-out split, `contamination` the comparison with benchmarks. Knows no
store, model or setting.
"""

from lpd_core.corpus.contamination import (
    BenchmarkPrompt,
    Contamination,
    find_contamination,
    prompts_as_benchmark,
    read_benchmark,
)
from lpd_core.corpus.filtering import Limits, find_drops
from lpd_core.corpus.formats import EVALUATION_FORMATS, FORMATS
from lpd_core.corpus.importing import FIELDS, Corpus, read_corpus, read_file
from lpd_core.corpus.reading import MAX_ROW_BYTES
from lpd_core.corpus.rows import Problem
from lpd_core.corpus.splits import SHARES, SPLITS, content_key, split_of

__all__ = [
    "EVALUATION_FORMATS",
    "FIELDS",
    "FORMATS",
    "MAX_ROW_BYTES",
    "SHARES",
    "SPLITS",
    "BenchmarkPrompt",
    "Contamination",
    "Corpus",
    "Limits",
    "Problem",
    "content_key",
    "find_contamination",
    "find_drops",
    "prompts_as_benchmark",
    "read_benchmark",
    "read_corpus",
    "read_file",
    "split_of",
]
