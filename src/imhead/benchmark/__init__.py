"""Speed as ratios within one run: ours and a peer take turns on the same machine, and the operations are counted."""
