"""Our decode loop against `model.generate`, on the demo model: tokens a second, and the ratio.

Both sides run in this process on one thread, by turns, over the same prompts (21 to 64 tokens), sampling the
same number of new tokens, with stop tokens off. `python -m bench.sampler [MODEL]`.
"""

from __future__ import annotations

import os
import sys
import time
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

NEW_TOKENS = 128
REPEATS = 3
BAR = 1.8
CASES = (
    # rows, samples of each prompt, temperature, top-p
    (64, 1, 0.7, 0.95),
    (128, 1, 0.7, 0.95),
    (64, 1, 1.0, 1.0),
    (128, 1, 1.0, 1.0),
    (128, 8, 0.7, 0.95),
)


def random_prompts(count: int, vocabulary: int) -> list[list[int]]:
    """Prompts of 21 to 64 random tokens."""
    import torch

    generator = torch.Generator().manual_seed(count)
    lengths = torch.randint(21, 65, (count,), generator=generator).tolist()
    return [torch.randint(3, vocabulary, (length,), generator=generator).tolist() for length in lengths]


def generate(model, prompts, samples: int, sampling) -> None:
    """What one would write with transformers: a left-padded batch."""
    import torch
    from transformers import GenerationConfig

    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(
        do_sample=True,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=0,
        max_new_tokens=sampling.max_tokens,
        num_return_sequences=samples,
        pad_token_id=0,
    )
    with torch.inference_mode():
        made = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    assert made.shape == (len(prompts) * samples, longest + sampling.max_tokens)


def timed(action) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(model, loop, rows: int, samples: int, sampling) -> float:
    """Print one case; the median ratio of wall times over the repeats."""
    from lpd_core.samplers.decode import Row

    prompts = random_prompts(rows // samples, model.config.vocab_size)
    asked = [Row(row // samples, row, sampling.max_tokens) for row in range(rows)]
    sides = {
        "generate": lambda: generate(model, prompts, samples, sampling),
        "ours": lambda: loop.decode(prompts, asked, sampling),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # warm up
    for _ in range(REPEATS):
        for name, side in sides.items():
            seconds[name].append(timed(side))
    tokens = rows * sampling.max_tokens
    rates = {
        name: [tokens / median(part) for part in zip(*times, strict=True)] for name, times in seconds.items()
    }
    turns = list(zip(seconds["generate"], seconds["ours"], strict=True))
    wall, cpu = (median(theirs[clock] / ours[clock] for theirs, ours in turns) for clock in (0, 1))
    print(f"batch {rows}, {samples} of each prompt, T {sampling.temperature}, top-p {sampling.top_p}:")
    for name, (a_second, a_cpu_second) in rates.items():
        print(f"  {name}: {a_second:.0f} tokens/s, {a_cpu_second:.0f} a CPU second")
    print(f"  ratio: {wall:.2f} by wall, {cpu:.2f} by CPU (bar {BAR})", flush=True)
    return wall


def main() -> dict[str, float]:
    """Print every case."""
    import torch

    from lpd_core.config import Sampling, resolve_path
    from lpd_core.samplers.checkpoint import forget_generation_settings, load_model
    from lpd_core.samplers.cpu import accelerate
    from lpd_core.samplers.decode import DecodeLoop

    torch.set_num_threads(1)
    path = str(resolve_path(sys.argv[1] if len(sys.argv) > 1 else "data/demo/model"))
    model = load_model(path, "float32", "cpu", False)
    forget_generation_settings(model)
    own = load_model(path, "float32", "cpu", False)
    loop = DecodeLoop(own, (), by_column=accelerate(own))
    figures = {}
    for rows, samples, temperature, top_p in CASES:
        sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=NEW_TOKENS)
        name = f"batch {rows}, {samples} a prompt, top-p {top_p}"
        figures[name] = compare(model, loop, rows, samples, sampling)
    return figures


if __name__ == "__main__":
    main()
