"""An echo server with compression, as a backend behind the gateway: `websocket_server.py PORT`.

Sends each message back with the tenant that the handshake named, and keeps sending news where it is asked for.
"""

import asyncio
import sys

from websockets.asyncio.server import serve


async def talk(socket):
    tenant = socket.request.headers.get("X-Customer-ID", "-")
    if socket.request.path == "/news":
        while True:
            await socket.send("news " * 100)
            await asyncio.sleep(0.01)
    async for message in socket:
        await socket.send(f"{tenant}: {message}" if isinstance(message, str) else message)


async def main():
    async with serve(talk, "127.0.0.1", int(sys.argv[1]), max_size=None) as server:
        await server.serve_forever()


asyncio.run(main())
