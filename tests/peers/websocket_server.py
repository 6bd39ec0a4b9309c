"""A WebSocket server that says back what it hears.

Prints its port, and then the code that each connection was closed with. `/close/CODE` closes with
that code at once.
"""

import asyncio

from websockets.asyncio.server import serve


async def answer(connection):
    path = connection.request.path
    if "/close/" in path:
        await connection.close(int(path.rsplit("/", 1)[1]), "as asked")
    else:
        async for message in connection:
            await connection.send(message)
    await connection.wait_closed()
    print("closed", connection.close_code, flush=True)


async def main():
    async with serve(answer, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
