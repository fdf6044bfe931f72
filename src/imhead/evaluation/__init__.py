"""Accuracy in mm, on heads that training never saw and on real scans, beside the linear model's."""
