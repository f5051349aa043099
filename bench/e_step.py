"""The E-step against the obvious loop, on the demo model: throughput, share of time in the sampler, same accepted set.

The obvious loop is what one would write first: one prompt at a time, `model.generate` for each role, rouge_score
for f. Both sides run in this process, on one thread, over the same prompts; `python -m bench.e_step`.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROMPTS = 40
N = 4


def settings(greedy: bool):
    """The demo's configuration, N = 4; greedy for the comparison of accepted sets."""
    from lpd_core.config import load_config

    cold = [f"e_step.{role}.temperature=0.0" for role in ("draft", "propose", "refine")] if greedy else []
    return load_config("demo", assignments=[f"e_step.n={N}", *cold])


def ours(config, examples):
    """Seconds in all and inside the sampler, and the accepted (prompt, sample) pairs with their scores."""
    from lpd_core.build import build_sampler
    from lpd_core.e_step import Discovery
    from lpd_core.prompts import load_templates
    from lpd_core.scoring import RougeL
    from lpd_core.stage import TimedSampler

    clock: dict[str, float] = {}
    sampler = TimedSampler(build_sampler(config, config.model.path), clock)
    discovery = Discovery(sampler, RougeL(config.scoring.stemmer), load_templates(config.prompts), config, 1)
    discovery.discover(examples[:2])
    clock.clear()
    started = time.perf_counter()
    _, candidates = discovery.discover(examples)
    seconds = time.perf_counter() - started
    accepted = {(c.prompt_id, c.sample): round(c.score, 9) for c, _ in candidates if c.status == "accepted"}
    return seconds, clock["sampling"] / seconds, clock["tokens"], accepted


def obvious(config, examples):
    """The same method, one prompt and one call at a time."""
    import torch
    from rouge_score.rouge_scorer import RougeScorer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lpd_core.config import resolve_path
    from lpd_core.prompts import load_templates, propose_chat, refine_chat
    from lpd_core.scoring import clean_principle, judge_principle
    from lpd_core.types import Draft

    folder = resolve_path(config.model.path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    scorer = RougeScorer(["rougeL"], use_stemmer=config.scoring.stemmer)
    templates = load_templates(config.prompts)
    tokens = 0

    def say(chat, sampling):
        nonlocal tokens
        ids = tokenizer.apply_chat_template(
            [dict(m) for m in chat], add_generation_prompt=True, return_tensors="pt"
        )
        hot = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        cold = {"do_sample": False}
        with torch.inference_mode():
            made = model.generate(
                **ids, max_new_tokens=sampling.max_tokens, **(hot if sampling.temperature else cold)
            )[0, ids["input_ids"].shape[1] :]
        tokens += len(made)
        return tokenizer.decode(made, skip_special_tokens=True).strip()

    def f(text, gold):
        return scorer.score(gold, text)["rougeL"].fmeasure

    def mine(example):
        draft = say(example.messages, config.e_step.draft)
        base = f(draft, example.gold)
        found = []
        for sample in range(N):
            z = clean_principle(
                say(propose_chat(templates, example.messages, draft, example.gold), config.e_step.propose)
            )
            y1 = Draft(example.prompt_id, draft, base, "stop", 0)
            if judge_principle(z, "stop", y1, example, config.e_step):
                continue
            response = say(refine_chat(templates, example.messages, draft, z), config.e_step.refine)
            found.append((f(response, example.gold), -sample))
        best = max(found, default=(0.0, 0))
        return {(example.prompt_id, -best[1]): round(best[0], 9)} if best[0] > base else {}

    started = time.perf_counter()
    accepted = {}
    for example in examples:
        accepted |= mine(example)
    return time.perf_counter() - started, tokens, accepted


def main() -> dict[str, float]:
    """Print both sides and their ratio."""
    import torch

    from lpd_core.config import resolve_path
    from lpd_core.corpus import read_corpus

    torch.set_num_threads(1)
    examples = list(read_corpus(resolve_path("data/demo/train.jsonl")).examples)[:PROMPTS]
    figures = {}
    for name, greedy in (("sampling", False), ("greedy", True)):
        seconds, share, tokens, accepted = ours(settings(greedy), examples)
        naive_seconds, naive_tokens, naive_accepted = obvious(settings(greedy), examples)
        print(
            f"E-step, {name}, {PROMPTS} prompts, N = {N}, 1 thread: ours {seconds:.1f} s ({tokens / seconds:.0f} tokens/s, "
            f"{share:.1%} inside the sampler), obvious loop {naive_seconds:.1f} s ({naive_tokens / naive_seconds:.0f} "
            f"tokens/s): {naive_seconds / seconds:.1f} times the prompts/s (bar 5)"
        )
        figures[name] = naive_seconds / seconds
        figures[f"{name} in sampler"] = share
        if greedy:
            print(
                f"  accepted sets equal: {accepted == naive_accepted} ({len(accepted)} and {len(naive_accepted)})"
            )
    return figures


if __name__ == "__main__":
    main()
