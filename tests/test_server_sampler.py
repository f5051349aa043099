"""The sampler over a server: good answers, every way to misbehave, and a run that meets them."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from conftest import PROJECT, run_inline
from models import tiny_model
from scripted_server import fail, said, serving

from lpd_core import jobs
from lpd_core.config import Sampling, parse_config
from lpd_core.driver import drive
from lpd_core.errors import ConfigError, Interrupted, UserError
from lpd_core.model_config import ModelConfig, SamplerConfig
from lpd_core.parts import echo_script
from lpd_core.samplers import server as client
from lpd_core.samplers.openai import ServerSampler
from lpd_core.samplers.serving import command_of, start_server
from lpd_core.types import SampleRequest

WARM = Sampling(temperature=1.0, max_tokens=20)
GREEDY = Sampling(temperature=0.0, max_tokens=20)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)


def sampler(url: str, model: ModelConfig | None = None, **settings) -> ServerSampler:
    settings = {"kind": "openai", "url": url, "patience": 5.0, **settings}
    return ServerSampler("tiny", "tiny", model or ModelConfig(), SamplerConfig(**settings))


def asked(prompts: int = 6, samples: int = 3) -> list[SampleRequest]:
    return [
        SampleRequest(({"role": "user", "content": f"prompt {n}"},), 100 * n + s)
        for n in range(prompts)
        for s in range(samples)
    ]


def expected(requests) -> list[str]:
    return [f"{request.messages[-1]['content'].upper()} {request.seed}" for request in requests]


def test_each_row_is_a_request_with_its_own_seed_and_answers_keep_their_order():
    with serving(lambda body, n: said(body), slow=0.01) as (script, url):
        made = sampler(url, concurrency=4).sample(asked(), WARM)
    assert [g.text for g in made] == expected(asked())
    assert {(g.finish_reason, g.tokens, g.prompt_tokens) for g in made} == {("stop", 3, 7)}
    assert len(script.bodies) == 18 and 2 <= script.most_at_once <= 4
    assert {body["model"] for body in script.bodies} == {"tiny"}


def test_without_seeds_the_rows_of_a_chat_are_one_request_for_n_completions():
    with serving(lambda body, n: said(body)) as (script, url):
        made = sampler(url, seeded=False).sample(asked(), WARM)
    assert sorted(body["n"] for body in script.bodies) == [3] * 6
    assert not any("seed" in body for body in script.bodies)
    assert [g.text for g in made][:4] == ["PROMPT 0 0", "PROMPT 0 1", "PROMPT 0 2", "PROMPT 1 0"]
    assert [g.tokens for g in made] == [3] * 18
    assert [g.cached_tokens for g in made][:3] == [0, 7, 7]


def test_a_server_that_ignores_n_is_asked_again_for_the_rest():
    with serving(lambda body, n: said({**body, "n": 1})) as (script, url):
        made = sampler(url, seeded=False).sample(asked(2, 3), WARM)
    assert len(script.bodies) == 6 and all(g.text for g in made)


def test_greedy_rows_of_a_chat_are_asked_once():
    with serving(lambda body, n: said(body)) as (script, url):
        made = sampler(url).sample(asked(), GREEDY)
    assert len(script.bodies) == 6 and len(made) == 18
    assert not any("seed" in body or "n" in body for body in script.bodies)


def misbehave(*replies):
    """Each reply once, then proper answers."""
    return lambda body, n: replies[n] if n < len(replies) else said(body)


@pytest.mark.parametrize(
    "reply",
    [
        fail(500, "engine stumbled"),
        fail(429, "slow down"),
        fail(503, "busy", retry_after="0"),
        (200, None, {}),
        (200, b"{garbage", {}),
        (200, b"\xff\xfe\x00", {}),
        (200, {"choices": []}, {}),
        (200, {"choices": [{"message": {"content": 7}}]}, {}),
        (200, ["not", "a", "response"], {}),
    ],
    ids="500 429 503 cut garbage binary empty number list".split(),
)
def test_a_fault_is_tried_again_and_nothing_is_lost(reply):
    with serving(misbehave(*[reply] * 5)) as (_, url):
        made = sampler(url).sample(asked(), WARM)
    assert [g.text for g in made] == expected(asked())


@pytest.mark.parametrize(
    "reply", [fail(500, "engine stumbled"), (200, None, {}), (200, b"{", {}), (200, {}, {})]
)
def test_a_request_that_keeps_failing_is_an_error_row_and_the_others_are_not(reply):
    def script(body, n):
        return reply if body["messages"][0]["content"] == "prompt 2" else said(body)

    with serving(script) as (server, url):
        made = sampler(url, retries=2).sample(asked(samples=1), WARM)
    assert [g.finish_reason for g in made] == ["stop", "stop", "error", "stop", "stop", "stop"]
    assert "tried 3 times" in made[2].error and len(server.bodies) in (
        5 + 3,
        5 + 3 + 1,
    )  # one to prove it lives


def test_a_server_that_fails_every_request_interrupts_with_the_reason():
    with (
        serving(lambda body, n: fail(500, "CUDA error")) as (_, url),
        pytest.raises(Interrupted, match=r"requests in a row failed at .*HTTP 500: CUDA error"),
    ):
        sampler(url, retries=0, concurrency=4).sample(asked(20, 1), WARM)


def test_a_server_that_refuses_every_request_interrupts_with_its_words():
    with (
        serving(lambda body, n: fail(400, "top_p is unknown")) as (_, url),
        pytest.raises(Interrupted, match="top_p is unknown"),
    ):
        sampler(url, concurrency=4).sample(asked(20, 1), WARM)


def test_retry_after_holds_every_request_back():
    with serving(misbehave(fail(429, "slow", retry_after="0.6"))) as (script, url):
        made = sampler(url, concurrency=1).sample(asked(3, 1), WARM)
    assert [g.text for g in made] == expected(asked(3, 1))
    assert 0.6 <= script.times[1] - script.times[0] < 10.0


def test_a_rate_limit_without_end_interrupts_after_the_patience():
    with (
        serving(lambda body, n: fail(429, "quota used up")) as (_, url),
        pytest.raises(Interrupted, match="limits the rate: quota used up; waited"),
    ):
        sampler(url, patience=0.3).sample(asked(1, 1), WARM)


def test_retry_after_may_be_a_date():
    assert client._retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert client._retry_after("12") == 12.0 and client._retry_after("soon") is None


def test_a_slow_answer_is_cut_off_and_tried_again():
    def script(body, n):
        time.sleep(4.0 if n == 0 else 0.0)
        return said(body)

    with serving(script) as (server, url):
        made = sampler(url, timeout=1.5).sample(asked(1, 1), WARM)
    assert made[0].text == "PROMPT 0 0" and len(server.bodies) == 2


def test_a_model_that_is_not_served_is_told_in_one_line():
    with (
        serving(lambda body, n: said(body), models=("other", "third")) as (_, url),
        pytest.raises(Interrupted, match=r"does not serve 'tiny' \(it serves other, third\)") as told,
    ):
        sampler(url)
    assert "\n" not in str(told.value)


def test_a_model_unloaded_while_asking_interrupts():
    with serving(lambda body, n: fail(404, "model not found")) as (script, url):
        made = sampler(url)
        script.models.clear()
        with pytest.raises(Interrupted, match=r"does not serve 'tiny'.*model not found"):
            made.sample(asked(), WARM)


def test_an_overlong_prompt_is_refused_or_cut_and_counted():
    def script(body, n):
        long = len(body["messages"][0]["content"]) > 400
        return fail(400, "This model's maximum context length is 100 tokens") if long else said(body, ["ok"])

    chats = [({"role": "user", "content": text},) for text in ("short", "long " * 400)]
    requests = [SampleRequest(chat, n) for n, chat in enumerate(chats)]
    with serving(script) as (server, url):
        refused = sampler(url).sample(requests, WARM)
        cut = sampler(url, ModelConfig(overlong="truncate")).sample(requests, WARM)
    assert [g.finish_reason for g in refused] == ["stop", "overlong"]
    assert [(g.finish_reason, g.truncated) for g in cut] == [("stop", False), ("stop", True)]
    assert " [...] " in server.bodies[-1]["messages"][0]["content"]


def test_a_server_without_a_system_role_gets_the_turn_folded():
    def script(body, n):
        refuses = body["messages"][0]["role"] == "system"
        return fail(400, "System role not supported") if refuses else said(body, ["ok"])

    chat = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"})
    with serving(script) as (server, url):
        made = sampler(url)
        assert made.sample([SampleRequest(chat, 1)], WARM)[0].text == "ok"
        assert made.sample([SampleRequest(chat, 2)], WARM)[0].text == "ok"
    assert server.bodies[-1]["messages"] == [{"role": "user", "content": "Be kind.\n\nHello"}]
    assert len(server.bodies) == 3  # the second call knows


def test_thinking_is_stripped_kept_or_switched_off():
    def script(body, n):
        return said(body, ["<think>\nhm\n</think>\n\nYes."])

    with serving(script) as (server, url):
        stripped = sampler(url).sample(asked(1, 1), WARM)[0]
        kept = sampler(url, ModelConfig(thinking="keep")).sample(asked(1, 1), WARM)[0]
        sampler(url, ModelConfig(thinking="off")).sample(asked(1, 1), WARM)
    assert (stripped.text, stripped.raw) == ("Yes.", "<think>\nhm\n</think>\n\nYes.")
    assert kept.text.startswith("<think>") and kept.raw is None
    assert server.bodies[-1]["chat_template_kwargs"]["enable_thinking"] is False


def test_the_key_comes_from_the_environment_and_is_in_no_message(monkeypatch):
    monkeypatch.setenv("TINY_KEY", "sk-secret-123")
    with serving(lambda body, n: said(body)) as (script, url):
        sampler(url, key_variable="TINY_KEY").sample(asked(1, 1), WARM)
        script.reply = lambda body, n: fail(401, "wrong key sk-secret-123")
        with pytest.raises(Interrupted, match=r"refuses the key in \$TINY_KEY.*\*\*\*") as told:
            sampler(url, key_variable="TINY_KEY").sample(asked(1, 1), WARM)
    assert script.headers[0]["authorization"] == "Bearer sk-secret-123"
    assert "sk-secret" not in str(told.value)


def test_a_server_that_repeats_the_key_gets_it_into_no_row_and_no_list_of_models(monkeypatch):
    key = "sk-secret-of-some-length"
    monkeypatch.setenv("TINY_KEY", key)
    with serving(lambda body, n: said(body, [f"your key is {key}"])) as (script, url):
        found = sampler(url, key_variable="TINY_KEY").sample(asked(1, 1), WARM)
        script.models = [key]
        with pytest.raises(Interrupted, match="does not serve") as told:
            sampler(url, key_variable="TINY_KEY").sample(asked(1, 1), WARM)
    assert found[0].text == "your key is ***"
    assert key not in str(told.value)


def test_a_word_that_stands_for_a_key_of_ones_own_server_stays_in_the_answers(monkeypatch):
    monkeypatch.setenv("TINY_KEY", "EMPTY")
    with serving(lambda body, n: said(body, ["the EMPTY set"])) as (_, url):
        assert sampler(url, key_variable="TINY_KEY").sample(asked(1, 1), WARM)[0].text == "the EMPTY set"


@pytest.mark.parametrize(
    "settings",
    [
        {"key_variable": "sk-proj-123"},
        {"key_variable": "hf_sk_proj"},
        {"url": "http://me:sk-proj-123@host/v1"},
        {"serve": "vllm serve {model} --port {port} --api-key sk-proj-123"},
    ],
)
def test_a_key_in_the_configuration_is_refused_without_repeating_it(settings):
    with pytest.raises(ConfigError) as told:
        parse_config({"sampler": {"kind": "openai", **settings}})
    assert "sk-proj" not in str(told.value) and "hf_sk" not in str(told.value)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("model")))


def run_settings(scripted_settings, weights, url, **sampler_settings):
    sampler_settings = {"kind": "openai", "url": url, "served": "tiny", "patience": 30.0, **sampler_settings}
    return {
        **scripted_settings,
        "iterations": 1,
        "review": True,
        "model": {"path": weights},
        "sampler": sampler_settings,
    }


def words(body, n):
    """Drafts, principles and refinements that gain, as the scripted fake gives them."""
    return said(body, [echo_script(body["messages"], body.get("seed", 0))])


def candidates(store, run_id):
    return store.database.query(
        "select * exclude run_id from candidates where run_id = ? order by prompt_id, sample", [run_id]
    )


FAULTS = (fail(500), (200, None, {}), (200, b"{", {}), (200, {"choices": []}, {}), fail(429, retry_after="0"))


def test_a_run_meets_every_fault_and_a_server_that_is_gone_and_ends_with_the_same_rows(
    store, scripted_settings, weights
):
    met = Counter()

    def bad(body, n):
        """The first try of every third request meets a fault."""
        met[str(body)] += 1
        return FAULTS[n // 3 % 5] if met[str(body)] == 1 and n % 3 == 0 else words(body, n)

    def dying(body, n):
        return words(body, n) if n < 100 else (200, None, {})

    tables = []
    for reply in (words, bad):
        with serving(reply) as (_, url):
            folder = run_inline(store, run_settings(scripted_settings, weights, url))
        assert folder.state().status == "awaiting_review"
        tables.append(candidates(store, folder.run_id))
    with serving(dying) as (script, url):
        settings = run_settings(scripted_settings, weights, url, retries=0, concurrency=4)
        folder = jobs.create_run(store, parse_config(settings))
        with pytest.raises(Interrupted, match=r"(in a row failed|answered before).*the connection broke"):
            drive(store, folder.run_id, inline=True)
        assert folder.state().status == "interrupted" and "the connection broke" in folder.state().error
        script.reply = words
        drive(store, folder.run_id, inline=True)
    tables.append(candidates(store, folder.run_id))
    assert len(tables[0]) == 64 and tables[0] == tables[1] == tables[2]


def test_a_run_without_a_server_pauses_with_the_reason(store, scripted_settings, weights):
    with serving(words) as (_, url):
        pass
    folder = jobs.create_run(store, parse_config(run_settings(scripted_settings, weights, url)))
    with pytest.raises(Interrupted, match="no server answers at"):
        drive(store, folder.run_id, inline=True)
    assert folder.state().status == "interrupted"


def test_the_key_is_in_no_file_of_a_run(store, scripted_settings, weights, monkeypatch):
    monkeypatch.setenv("TINY_KEY", "sk-secret-456")
    with serving(words) as (script, url):
        folder = run_inline(store, run_settings(scripted_settings, weights, url, key_variable="TINY_KEY"))
    assert script.headers[0]["authorization"] == "Bearer sk-secret-456"
    files = [path for path in store.home.rglob("*") if path.is_file()]
    assert len(files) > 10 and folder.root / "config.toml" in files
    assert not [path for path in files if b"sk-secret-456" in path.read_bytes()]


COMMAND = f"{sys.executable} tests/scripted_server.py {{port}} {{name}}"


def test_a_server_of_the_run_itself_is_started_on_the_weights_and_ended_with_the_process(tmp_path):
    script = (
        "import sys\n"
        "from lpd_core.model_config import ModelConfig, SamplerConfig\n"
        "from lpd_core.samplers.openai import ServerSampler\n"
        "from lpd_core.config import Sampling\n"
        "from lpd_core.types import SampleRequest\n"
        f"made = ServerSampler('weights', 'weights', ModelConfig(), SamplerConfig(kind='openai', serve={COMMAND!r}))\n"
        "ask = SampleRequest(({'role': 'user', 'content': 'hello'},), 5)\n"
        "print(made.sample([ask], Sampling())[0].text, made.fleet.servers[0].url, flush=True)\n"
        "sys.stdin.read()\n"
    )
    for end in (signal.SIGKILL, None):
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        text, _, url = process.stdout.readline().strip().rpartition(" ")
        assert text == "HELLO 5"
        server = client.Server(url, SamplerConfig())
        assert server.models() == ["weights"]
        if end:
            os.kill(process.pid, end)
        process.stdin.close()
        process.wait(30)
        give_up = time.monotonic() + 15
        while time.monotonic() < give_up:
            try:
                server.models()
                time.sleep(0.1)
            except Interrupted:
                break
        with pytest.raises(Interrupted):
            server.models()


def test_a_command_that_cannot_serve_is_told_with_its_code():
    settings = SamplerConfig(kind="openai", serve=f"{sys.executable} -c 'raise SystemExit(3)' {{model}}")
    with pytest.raises(UserError, match="ended with code 3 before the server answered"):
        start_server("weights", "weights", settings)


def test_the_places_of_a_command_are_filled_in_word_by_word():
    made = command_of(
        "vllm serve {model} --port {port} --served-model-name {name}", "/my models/x", "x;rm", 81
    )
    assert made == ["vllm", "serve", "/my models/x", "--port", "81", "--served-model-name", "x;rm"]
