"""A first guess of a scan's codes and pose, in one pass of a small network."""
