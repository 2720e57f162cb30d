"""Seeds that are written down: short texts of every kind, and what once broke something.

They are named by number, so new ones go to the end.
"""

from __future__ import annotations

import json

from xnat_sync.core.layout import NAMED

Seeds = dict[str, bytes]


def texts(*inputs: str) -> Seeds:
    """Inputs that are written here, named by number."""
    return {str(at): text.encode("utf-8", "surrogateescape") for at, text in enumerate(inputs)}


LONG = "x" * 300
COOKIES = "#HttpOnly_xnat.example.org\tFALSE\t/\tTRUE\t1900000000\tJSESSIONID\t6F0C6F0C\n"
TOKEN = {"alias": "a", "secret": "s", "xdatUserId": "u", "estimatedExpirationTime": 1795574006997}
PAGE = "https://idp.example.org/login?state=hush\ntext/html\n<html><title> Sign  on </title>"

WRITTEN: dict[str, Seeds] = {
    "names": texts(
        "",
        "a\nA\na~1",
        "é\ne\u0301\nÉ",
        "CON\nnul.txt\n.XNAT-sync\n%41\n%long",
        f"{LONG}\n{LONG.upper()}",
        "a/b\nA/c\na",
        "\udcff\n..\n.\n \n",
        f"{'/'.join([LONG] * 5)}\nß\nss",
        "\u200d\nx.nii.gz\nX.nii.gz",
    ),
    "layout": texts(
        *(f"{template}\nMR1\nmr1\nresources" for template in (*NAMED, *NAMED.values())),
        "{subject}/{date}-{session}/{scan}-{scan_type}/{resource}\nCON\n",
        "{session}/{scan}/{resource",
        "a/../b",
        "{project}/{session_id}/x/{scan_and_type}/{resource_id}\n\u0308\n..",
        "{sesion}/{scan}",
        "Resources/{session}",
    ),
    "patterns": texts("*_MR?\nS1_MR1\ns1_mr1", "re:T[12]w\nT1w", "[!a]*\nb\na", "re:(", "[", "re:a{2}\naa", "S1\nS2"),
    "values": texts(
        "90s",
        "7.5d",
        "50M",
        "10GB",
        "10%",
        "off",
        "08:00,10M 18:00,off",
        "06:00",
        "2026-01-31",
        "true",
        "xnat.example.org",
        "https://example.org:8443/xnat",
        "http://[::1]:8080",
        "http://user:pw@proxy:3128",
        "JSESSIONID=6F0C6F0C6F0C6F0C; Path=/",
        "PROVIDER/name",
        "files",
        "16",
        "https://hc.example.org/ping/1",
    ),
    "environment": texts(
        "jobs=4\nhost=xnat.example.org\npassword=hush",
        "scan=a,b\nlevel=scans",
        "bwlimit=08:00,1M 9:00,2M",
        "max_delete=10%\nping=https://x.org/hush\nquiet=1",
        "on_end=mail x y\nproxy=http://u:p@h:1",
    ),
    "config": texts(
        "default_profile = 'work'\n[profiles.work]\nhost='h'\njobs = 8\nafter = 2020-01-31\nstop-at = 06:00:00\n"
        "scan = ['a', 'b']\nquiet = true\n",
        "[profiles.work]\npassword='hush'",
        "profiles = 1",
        "default_profile = 1",
        "[profiles]\nwork = 1",
        "[profiles.work]\njobs = [[]]",
        "=",
        "[profiles.work]\nhots = 'h'",
    ),
    "cookies": texts(
        COOKIES,
        "# Netscape HTTP Cookie File\r\n.example.org\tTRUE\t/\tFALSE\t0\tSERVERID\tnode1\r\n" + COOKIES,
        "127.0.0.1\tFALSE\t/\tFALSE\t0\tJSESSIONID\t6F0C",
        COOKIES.replace("19", "1"),
        COOKIES + COOKIES[:-9],
        "xnat.example.org\tFALSE\t/xnat\tFALSE\t\tJSESSIONID\tA\nxnat.example.org\tFALSE\t/\tFALSE\t0\tJSESSIONID\tB",
    ),
    "token": texts(
        json.dumps(TOKEN), json.dumps(TOKEN | {"created": 1795401206997}), "{}", "[]", "<html>", '{"alias":""}'
    ),
    "range": texts(
        "bytes 400-999/1000\n206\n400\n1000\n1000", "bytes */1000\n416\n400", "\n200", "bytes 0-9/10\n206\n0"
    ),
    "wait": texts(
        "120", "Sun, 06 Nov 2094 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 2094", "-1"
    ),
    "refusal": texts(
        PAGE,
        "/data/auth",
        "/app/template/Login.vm",
        "/app/action/ChangePassword",
        "/inactive.vm",
        "\n\nYour password has expired",
        "\ntext/html\n<html>down for maintenance",
        "\n\nUser 'guest' is logged in",
    ),
}

FAULTS: dict[str, Seeds] = {
    "patterns": {
        "repeated without end": b"re:a{99999999999}",
        "nested without end": b"re:" + b"(" * 3000,
        "nested set": b"re:[[a]",
    },
    "values": {
        "no IPv6 address": b"https://[:::]",
        "no port": b"x:99999",
        "control character for a port": b"0:\x00",
        "infinite": b"9" * 400,
        "in exponents": b"3000001",
    },
    "config": {
        "nested without end": b"a = " + b"[" * 3000,
        "number without end": b"a = " + b"1" * 5000,
        "hexadecimal number without end": b"[profiles.work]\njobs = 0x" + b"f" * 4000,
    },
    "cookies": {"domain of a number": b".0.0.1\tTRUE\t/\tFALSE\t0\tJSESSIONID\t6F0C"},
    "token": {
        "nested without end": b"[" * 3000,
        "no time": b'{"alias":"a","secret":"s","estimatedExpirationTime":NaN}',
        "infinite": b'{"alias":"a","secret":"s","estimatedExpirationTime":Infinity}',
        "time without end": b'{"alias":"a","secret":"s","estimatedExpirationTime":' + b"9" * 400 + b"}",
    },
    "refusal": {"no IPv6 address": b"//["},
}
