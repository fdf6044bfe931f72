"""The studio: edit heads in the browser.

Three rooms, each of which imports only from those before it:

- `state`: the work itself as immutable values. Documents, commands that make a new document, the history of steps, and
  project files. It knows no browser, no mesh and no thread.
- `session`: one browser tab without its widgets. Its thread, the surface of the shown head, uploads and exports.
- `web`: the page. The server and who may connect, the 3D view, and panels that turn widgets into commands.
"""
