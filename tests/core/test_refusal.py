"""Why a login is none: the table of answers and causes, and that each cause has a line of its own."""

from __future__ import annotations

import pytest

from xnat_sync.core.errors import LoginRefused, RunError, ServerUnavailable, SessionEnded
from xnat_sync.core.model import Login, LoginKind, Secret
from xnat_sync.core.refusal import Cause, Why, error, title, why

HTML = "text/html;charset=UTF-8"
TEXT = "text/plain"
ASKED = "/data/JSESSION"


@pytest.mark.parametrize(
    ("status", "location", "kind", "body", "cause"),
    [
        (401, "", HTML, b"<html>", Cause.REFUSED),
        (403, "", TEXT, b"Your password has expired.", Cause.EXPIRED),
        (403, "", HTML, b"<html>no</html>", Cause.FORBIDDEN),
        (302, "/app/template/XDATScreen_UpdateUser.vm", "", b"", Cause.EXPIRED),
        (302, "https://x/xnat/app/template/ChangePassword.vm?a=b", "", b"", Cause.EXPIRED),
        (302, "/app/template/InactiveAccount.vm", "", b"", Cause.INACTIVE),
        (302, "/app/template/Login.vm", "", b"", Cause.NOBODY),
        (302, "https://idp.example.org/saml?SAMLRequest=x", "", b"", Cause.SIGN_ON),
        (301, "https://x/data/JSESSION", "", b"", Cause.MOVED),
        (308, "https://x/xnat/data/JSESSION/", "", b"", Cause.MOVED),
        (302, "", "", b"", Cause.SIGN_ON),
        (302, "https://[idp/login.vm", "", b"", Cause.SIGN_ON),
        (200, "", HTML, b"<title>Sign in</title>", Cause.SIGN_ON),
        (200, "", TEXT, b"<!DOCTYPE html><body>hello", Cause.SIGN_ON),
        (200, "", HTML, b"<h1>Down for maintenance</h1>", Cause.MAINTENANCE),
        (200, "", TEXT, b"User 'guest' is logged in", Cause.GUEST),
        (404, "", HTML, b"<html>", Cause.NO_XNAT),
        (200, "", TEXT, b"", Cause.STRANGE),
        (418, "", TEXT, b"teapot", Cause.STRANGE),
    ],
)
def test_the_table(status: int, location: str, kind: str, body: bytes, cause: Cause) -> None:
    assert why(status, location, kind, body, ASKED).cause is cause


def test_what_helps_is_kept_and_no_query() -> None:
    assert why(301, "https://x/xnat/data/JSESSION", "", b"", ASKED).detail == "https://x/xnat"
    assert why(302, "https://idp/saml?SAMLRequest=HUSH#HUSH", "", b"", ASKED).detail == "https://idp/saml"
    assert why(200, "", HTML, b"<TITLE>\n  AAF &amp; co\n</TITLE>", ASKED).detail == "AAF & co"
    assert title(b"no title") == ""


LOGINS = [Login(kind, "jdoe", Secret("HUSH"), "somewhere") for kind in LoginKind]


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: str(login.kind))
def test_each_cause_has_its_own_line_and_code(login: Login) -> None:
    lines = {}
    for cause in Cause:
        found = error(Why(cause, 418, "detail"), login, "https://x")
        assert isinstance(found, LoginRefused | SessionEnded | ServerUnavailable)
        assert "HUSH" not in str(found)
        assert "\n" not in str(found)
        lines[cause] = str(found)
    down = {Cause.MOVED, Cause.MAINTENANCE, Cause.NO_XNAT}
    codes = {cause: error(Why(cause), login, "https://x").exit_code for cause in Cause}
    assert codes == {cause: 7 if cause in down else 6 for cause in Cause}
    alike = {Cause.REFUSED, Cause.NOBODY, Cause.STRANGE, Cause.GUEST}
    apart = [line for cause, line in lines.items() if cause not in alike]
    assert len(set(apart)) == len(apart)


def said(kind: LoginKind, cause: Cause) -> str:
    found: RunError = error(Why(cause, 401), Login(kind, "ALIAS", Secret("x"), "cookie file c.txt"), "https://x")
    return str(found)


@pytest.mark.parametrize(
    ("kind", "cause", "says"),
    [
        (LoginKind.PASSWORD, Cause.REFUSED, "refused the login of 'ALIAS'"),
        (LoginKind.TOKEN, Cause.REFUSED, "xnat-sync login --token"),
        (LoginKind.PASTED, Cause.REFUSED, "pasted session id is not logged in (mistyped"),
        (LoginKind.PASTED, Cause.GUEST, "takes it for a guest's"),
        (LoginKind.COOKIES, Cause.NOBODY, "the session of cookie file c.txt is not logged in"),
        (LoginKind.KEPT, Cause.NOBODY, "run 'xnat-sync login' again"),
        (LoginKind.PASSWORD, Cause.SIGN_ON, "https://x/data/JSESSION in a browser that is logged in"),
        (LoginKind.PASTED, Cause.SIGN_ON, "--cookie-file"),
    ],
)
def test_the_line_says_how_to_go_on(kind: LoginKind, cause: Cause, says: str) -> None:
    assert says in said(kind, cause)


def test_an_alias_is_not_shown() -> None:
    assert not any("ALIAS" in said(LoginKind.TOKEN, cause) for cause in Cause)
