"""The Python verbs over HTTP, for programs on this machine that hold the key.

Each module imports only from those before it: `access` (who may ask; the studio uses it too), `work` (heads and fits in
memory), `openapi` and `routes` (what can be asked), `server` (sockets).
"""
