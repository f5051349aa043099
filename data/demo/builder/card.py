"""The model card of the demo model, filled with what was measured."""

from __future__ import annotations

from data.demo.builder.corpus import DESCRIBE, KINDS, PROPOSE_NOISE

CARD = """# Model card: the demo model of LPD Studio

## What it is

A Llama-architecture causal language model of {parameters:,} parameters (hidden 256, 4 layers, 4 heads, tied
embeddings, own byte-level BPE of {vocabulary:,} tokens), trained from scratch on text that a program of
this repository generates (`data/demo/builder`). It exists so that the whole loop (draft, propose, refine,
cluster, train) runs on two CPU cores in minutes, on a world where the right answer is known. Weights are
stored in float16; load them with `dtype=torch.float32`.

## What it is not

It is no general language model. It knows about a hundred topics of eight invented kinds of request, and
nothing else: do not use it for anything but this demo, and draw no conclusion about large models from its
figures.

## How it was made

| | |
|---|---|
| seed | {seed} |
| steps | {step:,} |
| conversations | {conversations:,} |
| tokens | {tokens:,} |
| time | {hours:.0f} minutes on one CPU thread, shared machine |
| optimiser | Muon (matrices, peak 5e-3) and AdamW (embeddings, norms, peak 3e-3), fp32 |
| schedule | warm-up 2 %, plateau, linear cool-down over the last 30 % of the time budget |
{digests}

Rebuild: `python -m data.demo.builder all --minutes 60 --seed {seed}`. The time budget drives the schedule,
so a rebuild on another machine gives a model of like behaviour, not the same bytes.

## What its pretraining saw

Conversations in the engine's own templates, in these shares: {shares}. **Latent attributes are drawn
uniformly and independently of the prompt in every one of them**, also under the hint; the rule of
`attributes.py` that the golds follow is never used there. The prompts of the data sets were held out.
Topics and cue wordings of the two shifted sets do occur in pretraining, as plain language; they do not
occur in `train.jsonl`.

* refine: prompt, plain draft, a random principle without any hint, the draft edited by it
* propose: prompt, plain draft, a better answer with one or two random attributes, a principle that it
  follows; in the last third of the budget {noise:.0%} of these principles are wrong on purpose, so that the
  E-step has something to filter

### Disclosure: short tasks that teach what words mean

A model of this size learns what a principle means only when it is taught so. Pretraining therefore has five
short tasks beside the conversations; a large instruction-tuned model would bring this knowledge along.

* situation: "{describe}", answered by one of thirteen fixed sentences (what the prompt says about the user;
  it never mentions a principle)
* rule: the chat for a principle, with a rule in the prompt that was drawn at random for this one conversation
  ("The user is torn: Give a concrete example. The user is angry: Cite a source for the facts."); teaches that a
  situation can decide, never which situation decides for what
* write: the one sentence that a principle adds to the answer to a prompt
* recognise: the principle that such a sentence follows
* reword: another statement of the same principle
{notes}
## Measured

Greedy decoding unless a temperature is named; f is Rouge-L F1 without stemming; a principle is right when
it names an attribute of the gold. "Without hint" is the leak check: it must be near chance.

{table}
"""


def render_card(
    provenance: dict,
    digests: dict[str, str],
    figures: dict[str, dict[str, float]],
    parameters: int,
    vocabulary: int,
) -> str:
    """The card's text."""
    lines = ["| figure | " + " | ".join(figures) + " |", "|---|" + "---|" * len(figures)]
    for name in next(iter(figures.values())):
        lines.append(f"| {name} | " + " | ".join(str(column[name]) for column in figures.values()) + " |")
    return CARD.format(
        parameters=parameters,
        vocabulary=vocabulary,
        table="\n".join(lines),
        describe=DESCRIBE,
        noise=PROPOSE_NOISE,
        shares=", ".join(f"{kind} {share:.0%}" for kind, share in KINDS.items()),
        hours=provenance["seconds"] / 60,
        digests="\n".join(f"| SHA-256 of {name} | `{digest}` |" for name, digest in digests.items()),
        notes="".join(f"\n{note}\n" for note in provenance.get("notes", [])),
        **{key: provenance[key] for key in ("seed", "step", "conversations", "tokens")},
    )
