"""One bounded HTTP request to a part on this machine."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_SECONDS = 3.0


async def answers(url: str, *, method: str = "GET") -> bool:
    """Whether the part answers with a 2xx status.

    Raises:
        aiohttp.ClientError: Nobody listens yet, or the connection broke.
        TimeoutError: No answer in time.
    """
    async with _session() as session, session.request(method, url) as response:
        return response.ok


async def fetch_json(url: str) -> Any:
    """The JSON a part answers with.

    Raises:
        aiohttp.ClientError: Nobody listens, the connection broke, or the status is 400 or more.
        TimeoutError: No answer in time.
        ValueError: Not JSON.
    """
    async with _session() as session, session.get(url) as response:
        response.raise_for_status()
        return await response.json()


def _session() -> "aiohttp.ClientSession":
    import aiohttp  # noqa: PLC0415 - 0.2 s, spent while the part starts

    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
