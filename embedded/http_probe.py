"""One bounded HTTP request to a part on this machine."""

from typing import Any

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=3)


async def answers(url: str, *, method: str = "GET") -> bool:
    """Whether the part answers with a 2xx status.

    Raises:
        aiohttp.ClientError: Nobody listens yet, or the connection broke.
        TimeoutError: No answer in time.
    """
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session, session.request(method, url) as response:
        return response.ok


async def fetch_json(url: str) -> Any:
    """The JSON a part answers with.

    Raises:
        aiohttp.ClientError: Nobody listens, the connection broke, or the status is 400 or more.
        TimeoutError: No answer in time.
        ValueError: Not JSON.
    """
    async with aiohttp.ClientSession(timeout=TIMEOUT, raise_for_status=True) as session, session.get(url) as response:
        return await response.json()
