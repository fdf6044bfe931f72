"""Who may ask: a program that holds the key and that names this server as its host.

A page of another site that a browser on this machine shows can send requests here. It does not know the key, and where
its own name is made to point here (DNS rebinding), the Host header gives it away.
"""

from __future__ import annotations

import hmac
import http.client
import ipaddress
import secrets
import socket

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_EVERY_ADDRESS = ("0.0.0.0", "::")


def new_key() -> str:
    """A random key, 192 bits."""
    return secrets.token_urlsafe(24)


def same_key(given: str, key: str) -> bool:
    """Whether a key is the right one, in a time that does not tell how much of it is."""
    return hmac.compare_digest(given.encode(), key.encode())


def is_ours(host: str, bound: str, port: int) -> bool:
    """Whether a Host header names this server and its port.

    Args:
        host: the header.
        bound: address that the server is bound to.
        port: of this machine, at which the request arrived.
    """
    name = host.removesuffix(f":{port}")
    if name == host and port != http.client.HTTP_PORT:
        return False
    if bound in ("127.0.0.1", "::1", "localhost"):
        return name in _LOOPBACK
    if name in (bound, f"[{bound}]", socket.gethostname().lower()):
        return True
    return bound in _EVERY_ADDRESS and (name in _LOOPBACK or _is_address(name))


def _is_address(name: str) -> bool:
    """Whether a host name is an address in numbers; nobody can point such a name elsewhere."""
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") else name)
    except ValueError:
        return False
    return name.startswith("[") == (":" in name)
