"""Muon for the weight matrices (momentum, orthogonalised by Newton-Schulz steps, in fp32: made for a CPU)."""

from __future__ import annotations

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(stack: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Bring the singular values of a stack of wide matrices near one."""
    a, b, c = COEFFICIENTS
    x = stack / (stack.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum; matrices of one shape are orthogonalised together."""

    def __init__(
        self, params: list[torch.nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.0
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self) -> None:
        """Update every matrix once."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[tuple[torch.nn.Parameter, torch.Tensor]]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"])
                wide = update if p.shape[0] <= p.shape[1] else update.mT
                shapes.setdefault(tuple(wide.shape), []).append((p, wide))
            for (rows, columns), members in shapes.items():
                updates = orthogonalise(torch.stack([wide for _, wide in members]))
                for (p, _), update in zip(members, updates, strict=True):
                    straight = update if p.shape[0] <= p.shape[1] else update.mT
                    p.mul_(1 - group["lr"] * group["decay"])
                    p.add_(straight, alpha=-group["lr"] * 0.2 * max(rows, columns) ** 0.5)
