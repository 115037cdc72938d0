"""A client of HTTP/2 that sends what no client should: nothing of a field is checked or mended."""

import socket
import ssl
import sys
import time

from .environments import directory

PATIENCE = 5


class Client:
    """One connection at a time; a new one when the server ends it."""

    def __init__(self, port, certificate):
        # Not when this module is read: the packages may not be installed yet.
        if str(directory("client")) not in sys.path:
            sys.path.insert(0, str(directory("client")))
        self.port = port
        self.tls = ssl.create_default_context(cafile=certificate)
        self.tls.set_alpn_protocols(["h2"])
        self.connection = self.socket = None

    def connect(self):
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        plain = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.socket = self.tls.wrap_socket(plain, server_hostname="localhost")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = H2Connection(H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False,
            header_encoding="latin-1",
        ))
        self.connection.initiate_connection()
        self.flush()

    def close(self):
        if self.socket:
            self.socket.close()
        self.connection = self.socket = None

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def exchange(self, request):
        """Sends a stream; the status of its answer, or None when it was reset or the connection ended."""
        if self.connection is None:
            self.connect()
        try:
            number = self.connection.get_next_available_stream_id()
            self.connection.send_headers(number, request.fields, end_stream=not (request.body or request.trailers))
            if request.body:
                self.connection.send_data(number, request.body, end_stream=not request.trailers)
            if request.trailers:
                self.connection.send_headers(number, request.trailers, end_stream=True)
            self.flush()
            return self.answer(number)
        except OSError:
            self.close()
            return None

    def answer(self, number):
        from h2 import events
        from h2.exceptions import ProtocolError

        status, deadline = None, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            received = self.socket.recv(65536)
            try:
                happened = self.connection.receive_data(received) if received else [events.ConnectionTerminated()]
                self.flush()
            except ProtocolError:
                happened = [events.ConnectionTerminated()]
            for event in happened:
                if isinstance(event, events.ConnectionTerminated):
                    self.close()
                    return status
                if getattr(event, "stream_id", None) != number:
                    continue
                if isinstance(event, events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                if isinstance(event, (events.StreamEnded, events.StreamReset)):
                    return status
        self.close()
        return status
