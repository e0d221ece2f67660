"""Requests that are no HTTP at all, refused like all others: by a problem document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftbook.prediction_ids import new_id
from driftbook.problems import MEDIA_TYPE, ProblemError

if TYPE_CHECKING:
    import asyncio


def http_protocol() -> type[asyncio.Protocol]:
    """Return Uvicorn's protocol, which answers what it cannot parse with a problem document."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class ProblemProtocol(HttpToolsProtocol):
        """Uvicorn's protocol with another answer to what it cannot parse."""

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (its text is not ours)
            """Refuse the bytes that came and close the connection."""
            request_id = new_id()
            problem = ProblemError("bad-request", "the bytes sent are no valid HTTP request")
            body = problem.body(request_id, "")
            head = (
                "HTTP/1.1 400 Bad Request\r\n"
                f"content-type: {MEDIA_TYPE}\r\n"
                f"content-length: {len(body)}\r\n"
                f"x-request-id: {request_id}\r\n"
                "connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return ProblemProtocol
