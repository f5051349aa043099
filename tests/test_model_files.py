"""Checkpoint folders: which are usable, and their digests."""

import shutil

import pytest
from models import tiny_model

from lpd_core.errors import UserError
from lpd_core.model_files import check_model_folder, model_digest


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(model, tmp_path):
    return shutil.copytree(model, tmp_path / "copy")


def test_a_digest_depends_on_the_weights_alone(model, copy):
    assert model_digest(copy) == model_digest(model)
    (copy / "README.md").write_text("words")
    assert model_digest(copy) == model_digest(model)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert model_digest(copy) != model_digest(model)
    weights.rename(copy / "other.safetensors")
    weights.write_bytes((model / "model.safetensors").read_bytes())
    assert model_digest(copy) != model_digest(model)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no model folder"):
        check_model_folder(tmp_path / "nowhere")


def test_a_folder_without_config_is_refused(copy):
    (copy / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config\.json"):
        check_model_folder(copy)


def test_pickled_weights_are_refused(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"only pytorch_model\.bin, a pickle"):
        check_model_folder(copy)


def test_torn_weights_are_refused(copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(UserError, match="incomplete"):
        check_model_folder(copy)


def test_a_missing_shard_is_refused(copy):
    index = copy / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}')
    with pytest.raises(UserError, match="a shard is missing"):
        check_model_folder(copy)
