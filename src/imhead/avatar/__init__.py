"""A head as an avatar: painted skin, eyes, teeth, tongue and lashes, on a small skeleton."""
