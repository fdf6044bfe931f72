"""The gradients of one step, worked out by several threads: each takes its share of the heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from imhead.parallel import side_by_side

Share = TypeVar("Share")
Predict = Callable[[Share], Sequence[Tensor]]
"""A share of a step → what the networks say of it, row by row."""
Loss = Callable[[Sequence[Tensor]], Tensor]
"""What the networks say of all shares, one after the other → loss ()."""


def backward(
    predict: Predict[Share],
    shares: Sequence[Share],
    loss: Loss,
    parameters: Sequence[nn.Parameter],
    device: torch.device,
) -> Tensor:
    """Add to the gradients of `parameters` those of the loss, a function of all shares together; returns it, detached.

    The same shares give the same digits. Forward and backward pass of a share run on one thread
    (docs/decisions/0023).
    """
    predicted = list(side_by_side(predict, shares, device))
    joined = [torch.cat(rows).detach().requires_grad_(True) for rows in zip(*predicted)]
    total = loss(joined)
    pulls = torch.autograd.grad(total, joined, allow_unused=True)
    pulled = [(column, pull) for column, pull in enumerate(pulls) if pull is not None]
    # of each share, its predictions that the loss hears and that something learnable made, and the loss's pull on them
    work: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in shares]
    for column, pull in pulled:
        rows = [part[column] for part in predicted]
        for (made, pulls_of), row, part in zip(work, rows, pull.split([len(row) for row in rows])):
            if row.requires_grad:
                made.append(row)
                pulls_of.append(part)

    def gradients(share: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(share[0], parameters, share[1], allow_unused=True)

    for found in side_by_side(gradients, work, device):
        for parameter, gradient in zip(parameters, found):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return total.detach()
