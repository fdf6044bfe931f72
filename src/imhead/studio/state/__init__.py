"""A session's state as immutable values: documents, the commands that change them, and the history of steps."""
