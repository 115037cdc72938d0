"""Exact bytes to a server, over TCP or TLS, and what comes back."""

import socket
import time

# A server that does not answer soon never will; the gateway may be waiting for one.
FIRST_BYTE = 1.5
FIRST_BYTE_THROUGH_GATEWAY = 5
SILENCE = 0.15
ENOUGH = 1 << 20


def exchange(port, message, tls=None):
    """Sends the bytes on a connection of their own and reads until the end, or until nothing more seems to come."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first_byte = FIRST_BYTE_THROUGH_GATEWAY if tls else FIRST_BYTE
        if tls:
            connection = tls.wrap_socket(connection, server_hostname="localhost")
        with connection:
            return talk(connection, message, first_byte)


def talk(connection, message, first_byte):
    answer, deadline = b"", time.monotonic() + 2 * first_byte
    try:
        connection.sendall(message)
        connection.settimeout(first_byte)
        while len(answer) < ENOUGH and time.monotonic() < deadline:
            part = connection.recv(65536)
            if not part:
                break
            answer += part
            connection.settimeout(SILENCE)
    except OSError:
        # Silence, a reset or a refusal of TLS: what came until then is the answer.
        pass
    return answer
