"""Speed, as ratios inside one run: ours and a peer take turns on the same machine, with what was computed beside it."""
