"""Sockets of servers that only this machine can reach."""

import socket

from ..errors import ProfileGymError


def listen(port: int) -> socket.socket:
    """A socket on the loopback interface."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()  # a client that connects before the server runs waits
    except OSError as error:
        listening.close()
        raise ProfileGymError(f"port {port} cannot be used ({error.strerror}): name another, or --port 0") from error
    return listening
