"""Everything a person can do to a document, as values: a command maps a document to a new one.

`command` holds what all commands share. `edits` change regions of the head, `expression` its expression, and `library`
the heads of the session.
"""
