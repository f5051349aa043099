"""Each sampler against its bare engine on the demo model, same prompts and lengths, and what prefixes are computed once.

`python -m bench.samplers`. The bare engines get token ids and give token ids: our decode loop for transformers, vLLM's own
`LLM.generate`; for the server sampler it is a client that posts the same bodies to the same `vllm serve` and counts. vLLM
runs where its environment is (`make vllm-env`, or `$LPD_VLLM_ENV`), by turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

PROMPTS, SAMPLES = 32, 4
MAX_TOKENS = 96
REPEATS = 5
BAR = 0.95
MODEL = "data/demo/model"
WORDS = (
    "Tell me about the harbour and the garden, the market and the letter, the window and the bridge, "
    "and say in a few words when each of them opens and what one should bring"
).split()


def asked():
    """Requests as the E-step makes them: several samples of each chat."""
    from lpd_core.types import SampleRequest

    chats = [
        ({"role": "user", "content": " ".join((WORDS * 3)[n : n + 40 + n % 16])},) for n in range(PROMPTS)
    ]
    return [SampleRequest(chat, 1000 * n + s) for n, chat in enumerate(chats) for s in range(SAMPLES)]


def by_turns(name: str, sides, clock=time.process_time, second: str = "CPU second") -> float:
    """Run two sides by turns, each telling its tokens; print and return ours over theirs, in tokens a CPU second of this
    process, in which both engines work: a busy neighbour then tells nothing. Another `clock` where they do not."""
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for work in sides.values():
        work()
    for _ in range(REPEATS):
        for side, work in sides.items():
            started = clock()
            tokens = work()
            rates[side].append(tokens / (clock() - started))
    ratio = median(ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True))
    told = ", ".join(f"{side} {median(values):.0f}" for side, values in rates.items())
    print(
        f"{name}, {PROMPTS} prompts x {SAMPLES} samples: {told} tokens a {second}; ratio {ratio:.3f} (bar {BAR})",
        flush=True,
    )
    return ratio


def sampling():
    from lpd_core.config import Sampling

    return Sampling(temperature=0.7, top_p=0.95, max_tokens=MAX_TOKENS)


def told_prefix(name: str, generations) -> None:
    needed = sum(g.prompt_tokens for g in generations)
    cached = sum(g.cached_tokens for g in generations)
    print(
        f"{name}: {needed} prompt tokens needed, {needed - cached} computed, {cached / needed:.0%} reused",
        flush=True,
    )


def transformers_side() -> dict[str, float]:
    """Our sampler against its own decode loop on ready tokens."""
    from lpd_core.config import resolve_path
    from lpd_core.model_config import ModelConfig, SamplerConfig
    from lpd_core.samplers.batching import plan
    from lpd_core.samplers.decode import Row
    from lpd_core.samplers.transformers import TransformersSampler

    model = ModelConfig(max_length=512, device="cpu")
    sampler = TransformersSampler(str(resolve_path(MODEL)), model, SamplerConfig())
    requests = asked()
    batches = plan(sampler.prompter.groups(requests, sampling())[0], sampler.settings.token_budget)

    def bare() -> int:
        tokens = 0
        for batch in batches:
            rows = [
                Row(n, requests[row].seed, group.limit) for n, group in enumerate(batch) for row in group.rows
            ]
            made = sampler.loop.decode([group.tokens for group in batch], rows, sampling())
            tokens += sum(len(completion.tokens) for completion in made)
        return tokens

    def ours() -> int:
        return sum(g.tokens for g in sampler.sample(requests, sampling()))

    told_prefix("transformers", sampler.sample(requests, sampling()))
    return {"transformers against its loop": by_turns("transformers", {"bare": bare, "ours": ours})}


def vllm_side() -> dict[str, float]:
    """Our sampler against `LLM.generate`, in vLLM's interpreter; and the same with prefix caching off."""
    from vllm import SamplingParams

    from lpd_core.model_config import ModelConfig, SamplerConfig
    from lpd_core.samplers import vllm as ours_vllm

    model, settings = ModelConfig(max_length=512), SamplerConfig(kind="vllm", cpu_cache_gib=1)
    sampler = ours_vllm.VllmSampler(MODEL, model, settings)
    requests = asked()
    groups, _ = sampler.prompter.groups(requests, sampling())
    rows = [(group, row) for group in groups for row in group.rows]
    prompts = [{"prompt_token_ids": list(group.tokens)} for group, _ in rows]
    parameters = [
        SamplingParams(
            temperature=0.7,
            top_p=0.95,
            max_tokens=MAX_TOKENS,
            seed=requests[row].seed,
            stop_token_ids=list(sampler.stop_ids),
            detokenize=False,
        )
        for _, row in rows
    ]

    def bare() -> int:
        outputs = sampler.engine.generate(prompts, parameters, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    def ours() -> int:
        return sum(g.tokens for g in sampler.sample(requests, sampling()))

    sampler.engine.reset_prefix_cache()
    told_prefix("vLLM with prefix caching, cold", sampler.sample(requests, sampling()))
    ratio = by_turns("vLLM offline", {"bare": bare, "ours": ours})
    options = ours_vllm._engine_options(model, settings, on_cpu=True)
    del sampler.engine
    from vllm import LLM

    sampler.engine = LLM(model=MODEL, **{**options, "enable_prefix_caching": False})
    told_prefix("vLLM without prefix caching", sampler.sample(requests, sampling()))
    return {"vllm against LLM.generate": ratio}


SERVE = (
    "{python} -m vllm.entrypoints.openai.api_server --model {{model}} --served-model-name {{name}} --port {{port}} "
    "--host 127.0.0.1 --dtype float32 --max-model-len 512 --enforce-eager --generation-config vllm "
    "--no-enable-chunked-prefill --max-num-batched-tokens 8192 --block-size 32 --disable-uvicorn-access-log"
)


def server_side(interpreter: str) -> dict[str, float]:
    """The sampler of kind `openai` against a bare client of the same server."""
    import asyncio

    import httpx2

    from lpd_core.config import resolve_path
    from lpd_core.model_config import ModelConfig, SamplerConfig
    from lpd_core.samplers.openai import ServerSampler

    settings = SamplerConfig(
        kind="openai", served="demo", endpoint="completions", serve=SERVE.format(python=interpreter)
    )
    sampler = ServerSampler(str(resolve_path(MODEL)), "demo", ModelConfig(max_length=512), settings)
    requests = asked()
    bodies = [sampler._body(ask, requests, sampling()) for ask in sampler._asks(requests, sampling(), {})]
    url = f"{sampler.fleet.servers[0].url}/completions"

    async def post_all() -> int:
        limits = httpx2.Limits(max_connections=settings.concurrency)
        async with httpx2.AsyncClient(limits=limits, timeout=httpx2.Timeout(300.0, pool=None)) as client:
            told = await asyncio.gather(*(client.post(url, json=body) for body in bodies))
        return sum(response.json()["usage"]["completion_tokens"] for response in told)

    def ours() -> int:
        return sum(g.tokens for g in sampler.sample(requests, sampling()))

    sides = {"bare": lambda: asyncio.run(post_all()), "ours": ours}
    return {
        "server sampler against a bare client": by_turns("vllm serve", sides, time.perf_counter, "second")
    }


def main() -> dict[str, float]:
    """Both samplers; vLLM's in its own environment, where that is installed."""
    figures = transformers_side()
    from tests.vllm import environment

    if not environment.interpreter().exists():
        print(f"vLLM: not measured, there is no {environment.interpreter()}: make vllm-env")
        return figures
    subprocess.run([str(environment.interpreter()), "-m", "bench.samplers", "vllm"], check=True)
    return figures | server_side(str(environment.interpreter()))


if __name__ == "__main__":
    vllm_side() if sys.argv[1:] == ["vllm"] else main()
