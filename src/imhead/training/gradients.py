"""The gradients of one step, computed by several threads: each takes a share of the heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from imhead.parallel import side_by_side

Share = TypeVar("Share")
Predict = Callable[[Share], Sequence[Tensor]]
"""A share of a step → predictions, one row for each head."""
Loss = Callable[[Sequence[Tensor]], Tensor]
"""Predictions of all shares, concatenated → loss ()."""


def backward(
    predict: Predict[Share],
    shares: Sequence[Share],
    loss: Loss,
    parameters: Sequence[nn.Parameter],
    device: torch.device,
) -> Tensor:
    """Add the gradients of a loss over all shares to `parameters`; the loss, detached.

    The same shares give the same bits. Each share's forward and backward pass run on one thread (docs/decisions/0023).
    """
    predicted = list(side_by_side(predict, shares, device))
    joined = [torch.cat(rows).detach().requires_grad_(True) for rows in zip(*predicted)]
    total = loss(joined)
    upstream = torch.autograd.grad(total, joined, allow_unused=True)
    # for each share: differentiable predictions that enter the loss, and the loss's gradients with respect to them
    work: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in shares]
    for column, whole in enumerate(upstream):
        if whole is None:
            continue
        rows = [part[column] for part in predicted]
        for (outputs, gradients_of), row, part in zip(work, rows, whole.split([len(row) for row in rows])):
            if row.requires_grad:
                outputs.append(row)
                gradients_of.append(part)

    def gradients(share: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(share[0], parameters, share[1], allow_unused=True)

    for found in side_by_side(gradients, work, device):
        for parameter, gradient in zip(parameters, found):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return total.detach()
