"""An answer before it goes out: status, headers, body; and the two shapes of XNAT's error pages (§6).

A body is bytes, or a stream of pieces. Lists are always chunked; zips are chunked unless the whole fits Tomcat's
buffer of 8 KiB; files have a length.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus

from .content import Piece

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class Answer:
    """What to send. ``length`` declares a Content-Length; without it the body is chunked."""

    status: int
    body: bytes | AsyncIterator[Piece] = b""
    headers: Headers = field(default_factory=list)
    length: int | None = None
    #: A proxy in front of XNAT answers by itself: none of XNAT's standing headers.
    by_proxy: bool = False
    #: Chunked, but with a length after all if the whole is no more than Tomcat's buffer.
    measured: bool = False
    #: The last answer on this connection.
    close: bool = False
    #: More was promised than is sent; the connection stays open, so that the client waits.
    hang: bool = False


def text(body: str | bytes, content_type: str, status: int = 200) -> Answer:
    """A short answer with a length."""
    data = body.encode() if isinstance(body, str) else body
    return Answer(status, data, [("Content-Type", content_type)], len(data))


def plain(body: str) -> Answer:
    """Restlet's ``text/plain``."""
    return text(body, "text/plain;charset=ISO-8859-1")


def chunked(body: str | bytes, content_type: str) -> Answer:
    """A document of unknown length, as Restlet sends every table and item."""
    data = body.encode() if isinstance(body, str) else body
    return Answer(200, data, [("Content-Type", content_type)])


def empty(status: int = 200, headers: Headers | None = None) -> Answer:
    """No body at all, and a length that says so."""
    return Answer(status, b"", headers or [], 0)


_REASONS = {
    400: "The request could not be understood by the server due to malformed syntax",
    401: "The request requires user authentication",
    403: "The server understood the request, but is refusing to fulfill it",
    404: "The server has not found anything matching the request URI",
    405: "The method specified in the request is not allowed for the resource identified by the request URI",
    412: "The precondition given in one or more of the request-header fields evaluated to false",
    500: "The server encountered an unexpected condition which prevented it from fulfilling the request",
    501: "The server does not support the functionality required to fulfill the request",
}

_SECTIONS = {400: "10.4.1", 401: "10.4.2", 403: "10.4.4", 404: "10.4.5", 405: "10.4.6", 412: "10.4.13", 500: "10.5.1"}


def restlet_page(status: int, reason: str | None = None, *, close: bool = False) -> Answer:
    """Restlet's "Status page"."""
    why = html.escape(reason or _REASONS.get(status, HTTPStatus(status).phrase), quote=False)
    section = _SECTIONS.get(status, "10.5.2")
    body = (
        "<html>\n<head>\n   <title>Status page</title>\n</head>\n<body>\n"
        f"<h3>{why}</h3><p>You can get technical details "
        f'<a href="http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#sec{section}">here</a>.<br>\n'
        'Please continue your visit at our <a href="/">home page</a>.\n</p>\n</body>\n</html>\n'
    )
    answer = text(body, "text/html;charset=ISO-8859-1", status)
    answer.close = close
    return answer


def tomcat_page(status: int, headers: Headers | None = None) -> Answer:
    """Tomcat's "HTTP Status NNN" page."""
    title = f"HTTP Status {status} – {HTTPStatus(status).phrase}"
    body = (
        f'<!doctype html><html lang="en"><head><title>{title}</title><style type="text/css">'
        "body {font-family:Tahoma,Arial,sans-serif;} h1 {color:white;background-color:#525D76;}</style></head>"
        f'<body><h1>{title}</h1><hr class="line" /><p><b>Type</b> Status Report</p>'
        '<hr class="line" /><h3>Apache Tomcat/9.0.70</h3></body></html>'
    )
    answer = text(body, "text/html;charset=utf-8", status)
    answer.headers += [("Content-Language", "en"), *(headers or [])]
    return answer


def proxy_page(status: int, headers: Headers | None = None, *, as_html: bool = True) -> Answer:
    """What nginx in front of Tomcat says on its own."""
    if not as_html:
        return Answer(status, b"", headers or [], 0, by_proxy=True)
    title = f"{status} {HTTPStatus(status).phrase}"
    body = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    answer = text(body, "text/html", status)
    answer.by_proxy = True
    answer.headers += headers or []
    return answer


LOGIN_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><title>XNAT</title></head>
<body id="login_page">
<form name="form1" method="post" action="/login">
<label>User <input type="text" name="username" id="username"></label>
<label>Password <input type="password" name="password" id="password"></label>
<input type="submit" value="Log In" id="loginBtn">
</form>
</body>
</html>
"""


def login_page() -> Answer:
    """The page with the login form, with status 200."""
    return text(LOGIN_PAGE, "text/html;charset=UTF-8")


class Refuse(Exception):
    """Raised where a request turns out to have no good answer; carries the bad one."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refuse(status: int, reason: str | None = None) -> Refuse:
    """A Restlet page as an exception."""
    return Refuse(restlet_page(status, reason))
