"""Asks for the URL given over HTTP/2, sixty times at once, and once over HTTP/1.1; trusts the certificate
given."""

import asyncio
import hashlib
import ssl
import sys

import httpx


async def main(url: str, certificate: str) -> None:
    trusted = ssl.create_default_context(cafile=certificate)
    body = bytes(range(97, 123)) * 20_000
    async with httpx.AsyncClient(http2=True, verify=trusted, timeout=60) as client:
        replies = await asyncio.gather(
            *(client.post(url, content=body if number % 10 == 0 else b"small") for number in range(60))
        )
    for number, reply in enumerate(replies):
        assert reply.status_code == 200, reply
        sent = body if number % 10 == 0 else b"small"
        echoed = reply.json()["body"].encode()
        assert hashlib.sha256(echoed).digest() == hashlib.sha256(sent).digest()
    (version,) = {reply.http_version for reply in replies}
    print(version, len(replies), "answers")
    async with httpx.AsyncClient(http1=True, http2=False, verify=trusted, timeout=60) as client:
        reply = await client.get(url)
    assert reply.status_code == 200, reply
    print(reply.http_version, "1 answer")


asyncio.run(main(*sys.argv[1:]))
