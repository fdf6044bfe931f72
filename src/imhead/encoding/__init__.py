"""The encoder: a first guess of a scan's codes and pose correction by a small network."""
