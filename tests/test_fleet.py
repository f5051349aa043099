"""A fleet of servers: the least loaded is asked, a lost one is made up for and taken back, and nothing is lost."""

import threading
import time
from contextlib import ExitStack

import pytest
from conftest import run_inline
from models import tiny_model
from scripted_server import fail, said, serving
from test_server_sampler import WARM, asked, candidates, expected, run_settings, words

from lpd_core import jobs
from lpd_core.config import parse_config
from lpd_core.driver import drive
from lpd_core.errors import ConfigError, Interrupted
from lpd_core.events import ReplicaSeen
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.samplers import server as client
from lpd_core.samplers.openai import ServerSampler
from lpd_core.stage import chunks_at_once


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)


def fleet_over(*urls: str, **settings) -> ServerSampler:
    settings = {"kind": "openai", "urls": list(urls), "patience": 5.0, "concurrency": 4, **settings}
    return ServerSampler("tiny", "tiny", ModelConfig(), SamplerConfig(**settings))


def answer(body, n):
    return said(body)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/")[0])


def test_requests_are_shared_by_load_and_answers_keep_their_order():
    with serving(answer, slow=0.01) as (fast, one), serving(answer, slow=0.3) as (slow, two):
        made = fleet_over(one, two).sample(asked(12, 4), WARM)
    assert [g.text for g in made] == expected(asked(12, 4))
    assert len(fast.bodies) + len(slow.bodies) == 48
    assert len(fast.bodies) > 2 * len(slow.bodies) >= 8
    assert fast.most_at_once <= 4 and slow.most_at_once <= 4


def wait_until(condition) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.005)


def test_a_server_that_dies_in_mid_stage_and_comes_back_loses_nothing_and_works_again():
    with ExitStack() as stack:
        _, one = stack.enter_context(serving(answer, slow=0.01))
        second = ExitStack()
        script, two = second.enter_context(serving(answer, slow=0.01))
        sampler = fleet_over(one, two, retries=3)
        made: list = []
        asking = threading.Thread(target=lambda: made.extend(sampler.sample(asked(40, 5), WARM)))
        asking.start()
        wait_until(lambda: len(script.bodies) >= 10)
        script.reply = lambda body, n: (200, None, {})
        second.close()
        lost = sampler.fleet.replicas[1]
        wait_until(lambda: lost.lost)
        back, _ = stack.enter_context(serving(answer, slow=0.01, port=port_of(two)))
        asking.join()
    assert [g.text for g in made] == expected(asked(40, 5))
    assert len(back.bodies) > 5 and lost.lost == ""
    assert lost.failures and sampler.fleet.replicas[0].redone
    assert sum(replica.answered for replica in sampler.fleet.replicas) == 200
    assert lost.tokens == 3 * lost.answered and lost.tokens_per_second > 0


def test_a_server_that_fails_every_request_is_left_out_and_the_others_answer():
    with serving(answer) as (_, one), serving(lambda body, n: fail(500, "CUDA error")) as (sick, two):
        made = fleet_over(one, two, retries=5).sample(asked(30, 4), WARM)
    assert [g.text for g in made] == expected(asked(30, 4))
    assert len(sick.bodies) < 30


def test_a_server_that_is_down_or_serves_other_weights_at_the_start_is_left_out():
    with serving(answer) as (_, gone):
        pass
    with serving(answer) as (_, one), serving(answer, models=("other",)) as (other, two):
        sampler = fleet_over(one, two, gone)
        made = sampler.sample(asked(4, 2), WARM)
        assert not other.bodies
        other.models.append("tiny")
        give_up = time.monotonic() + 10
        while not other.bodies and time.monotonic() < give_up:
            sampler.sample(asked(8, 4), WARM)
        assert other.bodies
    assert [g.text for g in made] == expected(asked(4, 2))
    assert "no server answers at" in sampler.fleet.replicas[2].lost


def test_a_server_is_taken_back_by_asks_that_are_shorter_than_the_pause_before_its_probe(monkeypatch):
    with serving(answer) as (_, one):
        with serving(answer) as (_, two):
            sampler = fleet_over(one, two)
        monkeypatch.setattr(client, "FIRST_PAUSE", 1.0)
        sampler.sample(asked(2, 2), WARM)
        assert sampler.fleet.replicas[1].lost
        with serving(answer, port=port_of(two)) as (back, _):
            give_up = time.monotonic() + 20
            while not back.bodies and time.monotonic() < give_up:
                sampler.sample(asked(2, 2), WARM)
        assert back.bodies and not sampler.fleet.replicas[1].lost


def test_a_fleet_that_is_down_says_so_for_every_server():
    with serving(answer) as (_, one), serving(answer) as (_, two):
        sampler = fleet_over(one, two, patience=0.2)
    with pytest.raises(Interrupted, match="none of 2 servers can be asked: no server answers at") as told:
        sampler.sample(asked(), WARM)
    assert one in str(told.value) and two in str(told.value) and "sampler.patience" in str(told.value)
    with pytest.raises(Interrupted, match="none of 2 servers can be asked"):
        fleet_over(one, two)


def test_a_limited_server_is_spared_while_another_answers():
    limits = fail(429, "slow down", retry_after="30")
    with serving(answer) as (_, one), serving(lambda body, n: limits) as (limited, two):
        started = time.monotonic()
        made = fleet_over(one, two).sample(asked(10, 2), WARM)
        assert time.monotonic() - started < 10
    assert [g.text for g in made] == expected(asked(10, 2))
    assert len(limited.bodies) <= 4


def test_several_threads_share_the_places_of_the_servers():
    results: dict[int, list] = {}
    with serving(answer, slow=0.01) as (one, first), serving(answer, slow=0.01) as (two, second):
        sampler = fleet_over(first, second)

        def sample(number: int) -> None:
            results[number] = sampler.sample(asked(8, 3), WARM)

        threads = [threading.Thread(target=sample, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all([g.text for g in results[n]] == expected(asked(8, 3)) for n in range(5))
    assert max(one.most_at_once, two.most_at_once) <= 4


def test_addresses_are_told_once_and_carry_no_key():
    assert SamplerConfig(url="http://a/v1/", urls=["http://b/v1", "http://a/v1"]).addresses() == [
        "http://a/v1",
        "http://b/v1",
    ]
    with pytest.raises(ConfigError, match="a key belongs into the environment"):
        parse_config({"sampler": {"kind": "openai", "urls": ["http://me:sk-proj-123@host/v1"]}})


def test_chunks_at_once_follow_the_places_of_the_servers():
    def at_once(**sampler) -> int:
        tree = {"e_step": {"n": 16, "chunk_prompts": 64}, "sampler": {"kind": "openai", **sampler}}
        return chunks_at_once(parse_config(tree), "e_step")

    assert at_once(url="http://a") == 2
    assert at_once(urls=[f"http://host-{n}" for n in range(64)]) == 78
    assert at_once(url="http://a", chunks_at_once=3) == 3
    assert at_once(kind="vllm", url="http://a") == 1


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("model")))


def test_a_run_over_a_fleet_that_loses_servers_ends_with_the_rows_of_a_single_one(
    store, scripted_settings, weights
):
    with serving(words) as (_, url):
        alone = run_inline(store, run_settings(scripted_settings, weights, url))

    def dying(body, n):
        return words(body, n) if n < 30 else (200, None, {})

    with serving(words) as (first, one), serving(dying) as (_, two), serving(words) as (third, three):
        tree = run_settings(scripted_settings, weights, one, urls=[two, three], chunks_at_once=4, retries=1)
        folder = jobs.create_run(store, parse_config(tree))
        first.reply = third.reply = dying  # all are gone: the run pauses, and goes on when they are back
        with pytest.raises(Interrupted, match=r"in a row failed|answered before|none of 3 servers"):
            drive(store, folder.run_id, inline=True)
        assert folder.state().status == "interrupted"
        first.reply = third.reply = words
        drive(store, folder.run_id, inline=True)
    assert folder.state().status == "awaiting_review"
    rows = candidates(store, alone.run_id)
    assert len(rows) == 64 and rows == candidates(store, folder.run_id)
    told = [e for _, e in folder.events()[0] if isinstance(e, ReplicaSeen) and e.stage == "e_step"]
    last = {event.replica: event for event in told}
    assert set(last) == {one, two, three} and any(event.lost and event.state == "lost" for event in told)
    assert last[one].redone + last[three].redone >= 1
    assert all(event.tokens == 3 * event.pieces and event.unit == "requests" for event in last.values())


def test_streaming_chunks_keep_64_servers_busy_where_a_barrier_after_each_step_does_not(tmp_path):
    from bench.fleet import simulate

    small = {"servers": 64, "n": 8, "concurrency": 1, "e_step.chunk_prompts": 16}
    streaming = simulate(tmp_path / "streaming", prompts=2000, **small)  # long beside its tail
    barriers = simulate(tmp_path / "barriers", prompts=160, **small, **{"sampler.chunks_at_once": 1})
    assert streaming.utilisation >= 0.95 > 0.5 > barriers.utilisation
    assert streaming.requests == 2000 * 17 and streaming.candidates == 16000
    assert streaming.redone > 0  # a server was lost for a while
