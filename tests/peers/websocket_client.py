"""Says everything that a WebSocket can carry to an echo behind the URL it is given.

With `--wait`, it says one word, prints the echo, and then the code that the connection is closed with.
"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL = sys.argv[1]
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 5_000_000]


def dial(path="/echo", **options):
    return connect(URL + path, max_size=None, ping_interval=None, **options)


async def messages(**options):
    async with dial(**options) as connection:
        for size in SIZES:
            for message in ["x" * size, os.urandom(size)]:
                await connection.send(message)
                assert await connection.recv() == message, size
        return connection.protocol.extensions


async def fragments():
    async with dial() as connection:
        await connection.send(["frag", "men", "ted"])
        assert await connection.recv() == "fragmented"


async def pings():
    async with dial() as connection:
        for number in range(10):
            pong = await connection.ping(str(number))
            await pong


async def codes():
    for code in [1000, 1011, 3000, 4321]:
        async with dial(f"/close/{code}") as connection:
            try:
                await connection.recv()
                raise AssertionError("it stays open")
            except ConnectionClosed:
                assert connection.close_code == code, connection.close_code
        connection = await dial()
        await connection.close(code)
        assert connection.close_code == code


async def one_of_many(number):
    async with dial() as connection:
        for round in range(5):
            message = f"{number} {round}"
            await connection.send(message)
            assert await connection.recv() == message


async def waiting():
    async with dial() as connection:
        await connection.send("hello")
        print(await connection.recv(), flush=True)
        await connection.wait_closed()
        print("closed", connection.close_code, flush=True)


async def main():
    if "--wait" in sys.argv:
        return await waiting()
    assert not await messages(compression=None)
    assert await messages(), "no compression was agreed upon"
    await fragments()
    await pings()
    await codes()
    await asyncio.gather(*map(one_of_many, range(200)))
    print("ok", flush=True)


asyncio.run(main())
