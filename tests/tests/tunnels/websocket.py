"""A WebSocket server and clients of it that go through a proxy.

Prints the server's port, reads the proxy's port, and prints `ok` when
everything that was sent through the proxy came back.
"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

# Around the three ways to write a length, and a frame larger than all buffers.
SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20]
CLIENTS = 50


async def echo(server_side):
    async for message in server_side:
        await server_side.send(message)


async def talk(address):
    async with connect(address, max_size=None, compression=None) as client:
        await client.send("text")
        assert await client.recv() == "text"
        for size in SIZES:
            data = os.urandom(size)
            await client.send(data)
            assert await client.recv() == data, size
        await (await client.ping())
        # Both directions at once.
        data = os.urandom(1 << 20)
        sending = asyncio.gather(*(client.send(data) for _ in range(8)))
        for _ in range(8):
            assert await client.recv() == data
        await sending
    assert client.close_code == 1000, client.close_code


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        port = int(await asyncio.to_thread(sys.stdin.readline))
        address = f"ws://127.0.0.1:{port}/chat"
        await talk(address)
        many = [connect(address, compression=None) for _ in range(CLIENTS)]
        open_ones = await asyncio.gather(*many)
        for number, client in enumerate(open_ones):
            await client.send(str(number))
        for number, client in enumerate(open_ones):
            assert await client.recv() == str(number)
        await asyncio.gather(*(client.close() for client in open_ones))
    print("ok", flush=True)


asyncio.run(main())
