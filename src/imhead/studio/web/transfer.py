"""What a page may send: viser itself collects an upload of any size, and opens a tunnel outside when asked."""

from __future__ import annotations

from collections.abc import Callable

import viser
from viser import _messages
from viser.infra import ClientId

_MOST_PARTS = 4096
_LONGEST_NAME = 1024


def limit_uploads(client: viser.ClientHandle, max_bytes: int, refuse: Callable[[str, int], None]) -> None:
    """Let a client send one file at a time, of at most `max_bytes`, and no larger than it announced.

    To be called before the client has a widget that takes files.

    Args:
        refuse: called with the name and size of a refused file.
    """
    gui, connection = client.gui, client._websock_connection
    sizes = gui._current_file_upload_states

    def begin(client_id: ClientId, message: _messages.FileTransferStartUpload) -> None:
        small = 0 <= message.size_bytes <= max_bytes and 0 <= message.part_count <= _MOST_PARTS
        if small and len(message.filename) <= _LONGEST_NAME and not sizes:
            gui._handle_file_transfer_start(client_id, message)
        else:
            refuse(message.filename, message.size_bytes)

    def receive(client_id: ClientId, message: _messages.FileTransferPart) -> None:
        state = sizes.get(message.transfer_uuid)
        if state is None:
            return
        if state["transferred_bytes"] + len(message.content) > state["total_bytes"]:
            del sizes[message.transfer_uuid]
            refuse(state["filename"], state["transferred_bytes"] + len(message.content))
            return
        gui._handle_file_transfer_part(client_id, message)

    connection.unregister_handler(_messages.FileTransferStartUpload, gui._handle_file_transfer_start)
    connection.unregister_handler(_messages.FileTransferPart, gui._handle_file_transfer_part)
    connection.register_handler(_messages.FileTransferStartUpload, begin)
    connection.register_handler(_messages.FileTransferPart, receive)


def close_ways_out(server: viser.ViserServer) -> None:
    """Ignore what a page may ask of the whole server: a tunnel to other machines, and uploads to no page."""
    for kind in (
        _messages.ShareUrlRequest,
        _messages.ShareUrlDisconnect,
        _messages.FileTransferStartUpload,
        _messages.FileTransferPart,
    ):
        server._websock_server.unregister_handler(kind)
