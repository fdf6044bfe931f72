"""The studio: a head in the browser, to be clicked and changed.

`document`, `commands`, `history` and `studio` know nothing of a browser: a person's work as values and commands.
`surface` keeps the mesh of the head that is shown. `server`, `page` and `panels` translate widgets into commands.
"""
