"""The eyeballs of a trained model: a linear map from its identity codes, by ridge regression."""

from __future__ import annotations

import numpy as np
import torch

from imhead.training.codes import ridge
from imhead.training.learner import Learner
from imhead.types import FloatArray


@torch.no_grad()
def fit_eye_net(learner: Learner, eyes: FloatArray, mean_eyes: FloatArray) -> float:
    """Fit EyeNet to the heads of a code table; the mean error of a centre that is left, mm.

    Args:
        learner: the trained model and its code table (M, 256).
        eyes: (M, 2, 5) eyeballs of the same heads.
        mean_eyes: (2, 5) those of the mean head, whose code is 0.
    """
    net, z_id = learner.model, learner.z_id
    mean = mean_eyes.mean(axis=0)
    codes = torch.cat([z_id, z_id * net.identity_parity])
    wanted = torch.from_numpy(np.concatenate([eyes[:, 0], eyes[:, 1]]) - mean).float()
    net.eye_net.mean.copy_(torch.from_numpy(mean))
    net.eye_net.weight.copy_(ridge(codes, wanted))
    left = codes @ net.eye_net.weight - wanted
    return float(left[:, :3].norm(dim=1).mean())
