"""Rebuild the demo: `python -m data.demo.builder [world|pretrain|measure|all] --minutes 60 --seed 1`.

`world` writes the data sets, `pretrain` trains (or resumes) and exports the model, `measure` measures it and
writes the model card, `all` does the three in turn.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main() -> None:
    """Read the arguments and run the step."""
    parser = argparse.ArgumentParser(prog="python -m data.demo.builder", description=__doc__)
    parser.add_argument("step", choices=["world", "pretrain", "measure", "all"], nargs="?", default="all")
    parser.add_argument("--minutes", type=float, default=60.0, help="time budget of the pretraining")
    parser.add_argument("--seed", type=int, default=1, help="seed of the data sets and the pretraining")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="where data sets and model go")
    parser.add_argument(
        "--runs", type=Path, default=Path("data/runs/demo-pretrain"), help="checkpoints' folder"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    args = parser.parse_args()

    import torch  # after the environment is set

    from data.demo.builder import ship, world

    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.step in ("world", "all"):
        world.write_splits(args.out, args.seed)
    if args.step in ("pretrain", "all"):
        ship.train_and_export(args.out, args.runs, args.minutes, args.seed)
    if args.step in ("measure", "all"):
        ship.measure_and_write_card(args.out)


if __name__ == "__main__":
    main()
