"""Accuracy in mm of the model and of linear baselines, on held-out heads and on real scans."""
