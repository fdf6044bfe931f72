"""Scan → head: pose search, then Gauss-Newton on codes and region offsets."""
