"""The chat page: one HTML file, which the browser may load nothing beside."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_FILE = Path(__file__).with_name("page.html")


async def page(request: Request) -> Response:
    """Answer GET /."""
    text, policy = _text_and_policy()
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "DENY"}
    return Response(text, media_type="text/html", headers=headers)


@cache
def _text_and_policy() -> tuple[str, str]:
    """Return the page, and what it may do: run its own script, and ask this server."""
    text = _FILE.read_text(encoding="utf-8")
    script, style = (_digest(text, tag) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _digest(text: str, tag: str) -> str:
    """Return the digest of what stands between a tag's marks, as the policy names it."""
    content = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"sha256-{digest}"
