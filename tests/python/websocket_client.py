"""A client with compression: `websocket_client.py URL ORIGIN COOKIE [ADDRESS CERTIFICATE]`. Says on standard output, a
line each, what it sees: the extensions agreed on, whether messages of every size come back whole, and how the connection
ends. For wss it comes from ADDRESS and accepts CERTIFICATE alone."""

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main():
    url, origin, cookie, *by_tls = sys.argv[1:]
    more = {}
    if by_tls:
        address, certificate = by_tls
        more = {"local_addr": (address, 0), "ssl": ssl.create_default_context(cafile=certificate)}
    async with connect(url, origin=origin, additional_headers={"Cookie": cookie}, max_size=None, **more) as socket:
        print("extensions", socket.response.headers.get("Sec-WebSocket-Extensions"), flush=True)
        if not url.endswith("/news"):
            for size in (0, 1, 125, 126, 65_535, 65_536, 3_000_000):
                message = bytes(index * 31 % 251 for index in range(size))
                await socket.send(message)
                assert await socket.recv() == message, size
            await socket.send(["in ", "three ", "fragments"])
            print("echo", await socket.recv(), flush=True)
            await (await socket.ping())
        print("ready", flush=True)
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            print("closed", closed.rcvd.code if closed.rcvd else None, closed.rcvd.reason if closed.rcvd else "", flush=True)


asyncio.run(main())
