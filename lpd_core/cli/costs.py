"""estimate: what a run will take, with every assumption."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from lpd_core.cli.options import ConfigFile, Json, Preset, Settings
from lpd_core.cli.output import show
from lpd_core.cli.runs import configure
from lpd_core.costs import assume, mined_prompts
from lpd_core.costs import estimate as estimated

MILLION, BILLION = 1e6, 1e9


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "estimate",
        epilog="Example: python -m lpd_core estimate --preset paper-llama --assume price_per_gpu_hour=2.2",
    )(estimate)


def estimate(
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Settings = None,
    assumptions: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--assume", help="One assumption, as name=value. May be repeated."),
    ] = None,
    json_: Json = False,
) -> None:
    """Say what a run will take, by arithmetic: tokens, GPU hours, storage, price; nothing is read or measured."""
    settings = configure(preset, config, set_)
    held = 2 * settings.data.heldout_limit  # dev and test
    told = estimated(settings, assume(assumptions or ()), mined_prompts(settings), held)
    show(told, json_, _text(settings.name, told))


def _text(name: str, told: dict[str, Any]) -> str:
    tokens, hours, storage, prompts = (
        told["tokens"],
        told["gpu_hours"],
        told["storage_gb"],
        told["prompts"],
    )
    assumed = told["assumptions"]
    lines = [
        f"{name}: {prompts['mined']:,} prompts mined, at most {prompts['held_out']:,} held out, "
        f"{prompts['generations']:,} generations, {told['parameters'] / BILLION:.2f} billion parameters",
        "",
        f"E-step      {tokens['mined'] / MILLION:10,.1f} M tokens sampled  {hours['e_step']:8.2f} GPU h  "
        f"({tokens['prefilled'] / MILLION:,.1f} M of prompts prefilled)",
        f"M-step      {tokens['trained'] / MILLION:10,.1f} M tokens trained  {hours['m_step']:8.2f} GPU h",
        f"evaluation  {tokens['measured'] / MILLION:10,.1f} M tokens sampled  {hours['evaluate']:8.2f} GPU h",
        f"together    {hours['total']:.2f} GPU h: {told['hours']:.2f} h on {assumed['gpus']} GPUs, "
        f"{told['price']:,.0f} at {assumed['price_per_gpu_hour']:g} a GPU h",
        f"storage     {storage['at_most']:,.0f} GB at most: {storage['checkpoints']:,.0f} of checkpoints, "
        f"{storage['to_resume']:,.0f} to resume a training, {storage['rows']:,.1f} of rows",
        f"GPU memory  {told['memory_gb']['sampling_weights']:,.0f} GB of bf16 weights to sample, "
        f"{told['memory_gb']['training']:,.0f} GB to train all weights, beside caches and activations",
        "",
        "assumed (change one with --assume name=value):",
        *(f"  {key} = {value:.12g}" for key, value in assumed.items()),
    ]
    return "\n".join(lines)
