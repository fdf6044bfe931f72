"""A sequence of scans of one person: one identity, then pose and expression frame by frame, smoothed in time."""
