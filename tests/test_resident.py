"""The resident processes: real ones, each under a home of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import PROJECT

from lpd_core import resident
from lpd_core.errors import Interrupted, LpdError, UserError
from lpd_core.resident import client
from lpd_core.resident.place import LONGEST_SOCKET, Place
from lpd_core.store import Store

MINILM = "all-MiniLM-L6-v2"


def end(place: Place) -> None:
    """End a place's process and wait until its lock is free."""
    while process_id := place.process_id():
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
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    store = Store(tmp_path / ("long" * 40))
    place = Place(store.home, "embed")
    assert len(str(place.socket)) <= LONGEST_SOCKET
    with pytest.raises(LpdError, match="no operation"):
        next(client.ask(store, "embed", {"op": "nothing"}, 20))
    assert stat.S_IMODE(place.socket.parent.stat().st_mode) == 0o700
    end(place)


def test_no_texts_and_hashed_words_need_no_process(tmp_path):
    store = Store(tmp_path)
    assert resident.embed(store, [], MINILM) == []
    assert len(resident.embed(store, ["one"], "hash")[0]) == 256
    assert not (tmp_path / "resident").exists()
