"""The activation of the local networks."""

from __future__ import annotations

import pytest
import torch

from imhead.model.local_nets import silu
from imhead.parallel import side_by_side


@pytest.mark.parametrize("width", [64, 24])
@pytest.mark.parametrize("rows", [1, 33, 1000, 5003])
def test_an_activation_does_not_depend_on_the_other_rows(width: int, rows: int) -> None:
    x = 6.0 * torch.randn(9000, width, generator=torch.Generator().manual_seed(rows))

    without_gradients = torch.no_grad()(silu)
    whole, part = side_by_side(without_gradients, [x, x[17 : 17 + rows].clone()], x.device)
    assert torch.equal(whole[17 : 17 + rows], part)
    torch.testing.assert_close(whole, x * torch.sigmoid(x))
