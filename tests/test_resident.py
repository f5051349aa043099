"""The resident processes: real ones, each under a home of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROJECT, run_inline

from lpd_core import machine, resident
from lpd_core.build import build_sampler
from lpd_core.config import Sampling
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.evaluate import self_correct
from lpd_core.prompts import load_templates
from lpd_core.resident import client, operations
from lpd_core.resident.place import LONGEST_SOCKET, Place
from lpd_core.resident.room import weight_bytes
from lpd_core.store import RunState, Store
from lpd_core.types import Example, Generation, SampleRequest

MINILM = "all-MiniLM-L6-v2"


def end(place: Place) -> None:
    """End a place's process and wait until its lock is free."""
    while process_id := place.process_id():
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
        time.sleep(0.02)


@pytest.fixture(scope="module")
def embedding_store(tmp_path_factory):
    """A home whose embed process is shared by this file's tests."""
    store = Store(tmp_path_factory.mktemp("resident"))
    yield store
    end(Place(store.home, "embed"))


def test_the_asking_process_gets_real_embeddings_and_never_loads_torch(embedding_store):
    code = (
        "import sys, json\n"
        "from lpd_core import resident\n"
        "from lpd_core.store import Store\n"
        f"v = resident.embed(Store(), ['a cat', 'a kitten', 'stock market'], {MINILM!r})\n"
        "print(json.dumps([v, [m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules]]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**os.environ, "LPD_HOME": str(embedding_store.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    vectors, loaded = json.loads(told.stdout)
    cat, kitten, market = np.array(vectors)
    assert loaded == []
    assert np.linalg.norm([cat, kitten, market], axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert cat @ kitten > 0.6 > 0.3 > cat @ market


def test_one_process_serves_everybody_and_is_open_to_its_user_alone(embedding_store):
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda n: resident.embed(embedding_store, [f"text {n}"], MINILM), [0, 1, 2, 0])
        )
    place = Place(embedding_store.home, "embed")
    first = place.process_id()
    assert answers[0] == answers[3] != answers[1]
    assert resident.embed(embedding_store, ["again"], MINILM) and place.process_id() == first
    assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700


def test_an_error_is_one_line_and_costs_nobody_else(embedding_store):
    with pytest.raises(UserError, match="no/such-model") as told:
        resident.embed(embedding_store, ["x"], "no/such-model")
    assert "\n" not in str(told.value)
    assert len(resident.embed(embedding_store, ["x"], MINILM)[0]) == 384


def test_what_is_no_request_is_dropped_and_the_process_goes_on(embedding_store):
    resident.embed(embedding_store, ["x"], MINILM)
    place = Place(embedding_store.home, "embed")
    before = place.process_id()
    for rubbish in (
        b"",
        b"\x80\x04 pickle.\n",
        b"[1]\n",
        b'{"op": "run", "texts": []}\n',
        b'{"op": "embed"}\n',
    ):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(str(place.socket))
            channel.sendall(rubbish)
    assert resident.embed(embedding_store, ["x"], MINILM) and place.process_id() == before


def test_a_killed_process_is_started_anew(embedding_store):
    before = resident.embed(embedding_store, ["the same"], MINILM)
    place = Place(embedding_store.home, "embed")
    killed = place.process_id()
    os.kill(killed, signal.SIGKILL)
    assert resident.embed(embedding_store, ["the same"], MINILM) == before
    assert place.process_id() not in (0, killed)


def test_a_request_that_takes_too_long_is_told_so(embedding_store):
    with pytest.raises(Interrupted, match=r"not done within 0.3 s"):
        resident.embed(
            embedding_store, [f"a long text of number {n} " * 50 for n in range(3000)], MINILM, 0.3
        )
    end(Place(embedding_store.home, "embed"))


def test_it_leaves_by_itself_and_takes_its_socket_along(tmp_path, monkeypatch):
    monkeypatch.setenv("LPD_HOME", str(tmp_path))
    place = Place(tmp_path, "embed")
    process = subprocess.Popen(
        [sys.executable, "-m", "lpd_core.resident", "embed", "--idle", "0.2"], cwd=PROJECT
    )
    assert process.wait(20) == 0
    assert place.lock.read_text() == str(process.pid)
    assert not place.process_id() and not place.socket.exists()


def test_a_home_with_a_long_path_meets_elsewhere(tmp_path, monkeypatch):
    store = Store(tmp_path / ("long" * 40))
    short = tempfile.mkdtemp(prefix="lpd")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("longer" * 20)))
    assert len(str(Place(store.home, "embed").socket)) <= LONGEST_SOCKET
    monkeypatch.setenv("XDG_RUNTIME_DIR", short)
    place = Place(store.home, "embed")
    assert str(place.socket).startswith(short)
    with pytest.raises(LpdError, match="no operation"):
        next(client.ask(store, "embed", {"op": "nothing"}, 20))
    assert stat.S_IMODE(place.socket.parent.stat().st_mode) == 0o700
    end(place)


def test_no_texts_and_hashed_words_need_no_process(tmp_path):
    store = Store(tmp_path)
    assert resident.embed(store, [], MINILM) == []
    assert len(resident.embed(store, ["one"], "hash")[0]) == 256
    assert not (tmp_path / "resident").exists()


@pytest.fixture
def scripted_run(store, scripted_settings):
    """A finished run of the scripted fake; its model process ends with the test."""
    yield run_inline(store, scripted_settings).run_id
    end(Place(store.home, "model"))


PROMPT = [{"role": "user", "content": "Tell me about the river"}]


def texts(steps) -> dict[str, str]:
    return {step.role: step.text for step in steps if step.finish_reason}


def test_a_chain_is_the_measurements_own(store, scripted_run):
    config = store.run(scripted_run).config()
    example = Example("", "playground", tuple(PROMPT), "", "")
    ((draft, principle, response),) = self_correct(
        [example], build_sampler(config, ""), load_templates(config.prompts), config, ("playground",)
    )
    said = texts(resident.chain(store, scripted_run, 1, PROMPT, seed=config.seed))
    assert said == {"draft": draft.text, "principle": principle.text, "refine": response.text}


def test_a_forced_principle_stands_for_the_models_own(store, scripted_run):
    own = texts(resident.chain(store, scripted_run, 1, PROMPT))
    forced = texts(resident.chain(store, scripted_run, 1, PROMPT, principle="Mention boats."))
    assert forced["principle"] == "Mention boats." != own["principle"]
    assert forced["draft"] == own["draft"] and forced["refine"] != own["refine"]


def test_a_run_that_is_not_there_is_told(store, scripted_run):
    with pytest.raises(UserError, match="no run 'other-1'"):
        list(resident.chain(store, "other-1", 1, PROMPT))


def test_a_slow_text_grows_before_it_is_whole(store, monkeypatch):
    sent = []
    monkeypatch.setattr(operations, "SEND_SECONDS", 0.0)

    class Slow:
        def stream(self, request, sampling, told):
            for text in ("one", "one two"):
                told(text)
            return Generation("one two three ", "length", 3, 1)

    telling = operations.Telling(Slow(), iter(["draft"]), sent.append)
    telling.sample([SampleRequest(tuple(PROMPT), 0)], Sampling())
    assert [line["text"] for line in sent] == ["one", "one two", "one two three"]
    assert [line["finish_reason"] for line in sent] == [None, None, "length"]


def test_room_counts_weights_not_yet_loaded_and_names_who_is_at_work(store, scripted_run, monkeypatch):
    now = machine.look(store.home)
    monkeypatch.setattr(machine, "look", lambda home: replace(now, memory_available=2**40))
    enough = resident.room(store, scripted_run, [0, 1])
    assert enough.suffices and not enough.unknown and enough.at_work == ()
    list(resident.chain(store, scripted_run, 1, PROMPT))
    assert resident.room(store, scripted_run, [0, 1]).needed < enough.needed  # the process is there already
    monkeypatch.setattr(machine, "look", lambda home: replace(now, memory_available=-1))
    folder = store.run(scripted_run)
    with folder.driving():
        folder.write_state(RunState("running", 2, "m_step"))
        little = resident.room(store, scripted_run, [0, 1])
    assert not little.suffices
    assert little.at_work == (resident.AtWork(scripted_run, 2, "m_step"),)


def test_weights_are_counted_from_the_files(tmp_path):
    from models import tiny_model

    from lpd_core.config import parse_config

    folder = tiny_model(tmp_path)
    exact = sum(parameter.numel() for parameter in _parameters(folder))
    config = parse_config({"model": {"path": str(folder), "dtype": "bfloat16"}, "data": {"train": ["x"]}})
    assert weight_bytes(config, folder) == 2 * exact
    assert weight_bytes(config, tmp_path / "a/hub-name") == 0


def _parameters(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors").values()


def test_a_model_makes_way_sooner_while_a_run_is_at_work(store, scripted_run):
    chains = operations.Chains(store)
    assert chains.patience(300) == 300
    folder = store.run(scripted_run)
    with folder.driving():
        folder.write_state(RunState("running", 2, "m_step"))
        assert chains.patience(300) == operations.HURRIED_SECONDS
