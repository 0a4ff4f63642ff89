"""Sockets of servers, which only this machine can reach unless they are told another address."""

import socket

from ..errors import ProfileGymError


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket on the loopback interface, or on another that is named."""
    # asyncio turns Nagle's algorithm off only where the protocol is named: else a reply in two parts takes 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # a client that connects before the server runs waits
    except (OSError, OverflowError) as error:  # the latter of a number beyond 65,535
        listening.close()
        reason = getattr(error, "strerror", error)
        raise ProfileGymError(
            f"{host}, port {port}, cannot be used ({reason}): give an address of this machine and a free port, "
            "or --port 0"
        ) from error
    return listening
