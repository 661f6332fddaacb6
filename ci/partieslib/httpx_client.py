"""Speaks HTTP/2 by httpx: httpx_client.py URL CA. Prints what it has seen as one line of JSON."""

import asyncio
import json
import os
import ssl
import sys

import httpx


async def main():
    url, ca = sys.argv[1:]
    async with httpx.AsyncClient(http1=False, http2=True, verify=ssl.create_default_context(cafile=ca), base_url=url, trust_env=False,
                                 timeout=20) as client:
        hellos = await asyncio.gather(*[client.get("/") for _ in range(200)])
        bodies = [os.urandom(size * 1_000) for size in range(50)]
        echoes = await asyncio.gather(*[client.post("/echo", content=body) for body in bodies])
        large, missing = await client.get("/bytes/1048576"), await client.get("/no-such-path")
    print(json.dumps({
        "versions": sorted({answer.http_version for answer in (*hellos, *echoes, large, missing)}),
        "hellos": sum(answer.text == "hello world\n" for answer in hellos),
        "echoes": sum(answer.content == body for answer, body in zip(echoes, bodies)),
        "bytes": len(large.content),
        "missing": missing.status_code,
    }))


asyncio.run(main())
