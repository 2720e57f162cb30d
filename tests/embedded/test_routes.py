"""Items, routes that lead elsewhere, refusals, standing headers (§2.3, §2.7; §8 rows 12, 19, ground rules)."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.probe import Probe
from xnat_embedded import Server, Site
from xnat_embedded.routes import is_malformed, parse

P = "/data/projects/PTV000"

WORDS = ["data", "REST", "archive", "projects", "P", "subjects", "S", "experiments", "E", "scans", "4", "resources"]
WORDS += ["files", "x.dcm", "assessors", "out", "JSESSION", "xapi", "", "user", "sessions", "%41", "services", "tokens"]


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.text(max_size=10), st.sampled_from(["GET", "DELETE"]))
def test_every_target_has_a_route(segments: list[str], query: str, method: str) -> None:
    raw = "/" + "/".join(segments) + "?" + query
    target = parse(method, raw)
    assert target.route.kind
    is_malformed(raw)


STARTS = ("projects/PTV000", "experiments/XNAT_E00001", "subjects/XNAT_S00001", "projects/PTV000/subjects/Haofei01")
TAILS = [
    "/",
    "/scans/4",
    "/files",
    "/files/",
    "/files/x",
    "/resources",
    "/resources/",
    "/resources/1",
    "/experiments",
    "/experiments/",
    "/assessors",
    "/assessors/X/out/files",
    "/reconstructions",
    "/reconstructions/R/files",
    "/resources/DICOM/files/%zz",
    "/scans//4",
    "/subjects",
]
QUERIES = ("", "?format=zip", "?format=json&all=true", "?limit=-1", "?columns=,", "?format=")


def test_no_target_makes_the_server_fail(demo: Probe, server: Server) -> None:
    for start in STARTS:
        for tail in ("", *TAILS):
            for query in QUERIES:
                demo.ask(f"/data/{start}{tail}{query}")
    assert server.failures == []


# --- items -----------------------------------------------------------------------------------------------


def test_item_json_is_typed(demo: Probe, site: Site) -> None:
    session = next(site.experiments())
    item = demo.ask(f"/data/experiments/{session.id}?format=json").json()["items"][0]
    assert item["data_fields"]["label"] == "Haofei01_MR1"
    assert item["meta"]["xsi:type"] == "xnat:mrSessionData"
    assert item["meta"]["isHistory"] is False
    scans = next(child for child in item["children"] if child["field"] == "scans/scan")["items"]
    scan = next(scan for scan in scans if scan["data_fields"]["ID"] == "4")
    assert scan["data_fields"]["frames"] == 6
    files = next(child for child in scan["children"] if child["field"] == "file")["items"]
    assert files[0]["data_fields"]["file_count"] == 6
    assert "note" not in item["data_fields"]  # Nulls are left out.


def test_items_default_to_xml_and_to_html_for_browsers(demo: Probe, site: Site) -> None:
    path = f"/data/experiments/{next(site.experiments()).id}"
    assert demo.ask(path).header("Content-Type") == "text/xml"
    assert demo.ask(path, headers={"Accept": "text/html"}).header("Content-Type") == "text/html"
    ElementTree.fromstring(demo.ask(path).body)


# --- routes that are not there ---------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["scans", "files", "scans/4/files", "scans/4/files?format=zip", "nonsense"])
def test_missing_routes_fall_through_to_the_experiment_item(demo: Probe, tail: str) -> None:
    sep = "&" if "?" in tail else "?"
    reply = demo.ask(f"{P}/experiments/Haofei01_MR1/{tail}" + ("" if "zip" in tail else f"{sep}format=json"))
    assert reply.status == 200
    if "zip" not in tail:
        assert reply.json()["items"][0]["data_fields"]["label"] == "Haofei01_MR1"
    assert not reply.body.startswith(b"PK")


def test_resources_below_a_project_experiment_do_exist(demo: Probe) -> None:
    rows = demo.rows(f"{P}/experiments/Haofei01_MR1/resources")
    assert {row["label"] for row in rows} == {"NOTES", "PHYSIO"}


@pytest.mark.parametrize("path", ["/data//projects", "/data/projects//PTV000/subjects", "/data/nonsense"])
def test_nowhere(demo: Probe, path: str) -> None:
    assert demo.ask(path).status == 404


@pytest.mark.parametrize("mark", ["[", "]", "{", "}", "|", "^", '"', "<", "\\", "%2F", "%2f", "%5C"])
def test_tomcat_refuses_raw_special_characters_and_escaped_slashes(demo: Probe, mark: str) -> None:
    reply = demo.ask(f"/data/projects/a{mark}b/subjects")
    assert reply.status == 400
    assert "HTTP Status 400" in reply.text


# --- ground rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/data/projects", "/REST/projects", "/data/JSESSION", "/data/nonsense"])
def test_standing_headers(demo: Probe, probe: Probe, path: str) -> None:
    for reply in (demo.ask(path), probe.ask(path)):
        assert reply.header("Server") == "Noelios-Restlet-Engine/1.1.10"
        assert reply.header("Accept-Ranges") == "bytes"
        assert reply.header("Vary") == "Accept-Charset, Accept-Encoding, Accept-Language, Accept"
        assert reply.header("X-Content-Type-Options") == "nosniff"
        assert reply.header("X-Frame-Options") == "SAMEORIGIN"
        assert reply.header("X-XSS-Protection") == "1; mode=block"
        assert reply.header("Content-Security-Policy") == "frame-ancestors 'self'"
        assert reply.header("Date")
        assert reply.header("ETag") is None
        assert reply.cookie("SESSION_EXPIRATION_TIME")


def test_status_lines_have_no_reason(demo: Probe) -> None:
    assert demo.raw("/data/projects").startswith(b"HTTP/1.1 200 \r\n")
    assert demo.raw("/data/nonsense").startswith(b"HTTP/1.1 404 \r\n")


def test_connections_are_kept_for_a_hundred_requests(demo: Probe, site: Site) -> None:
    site.keepalive_requests = 3
    with demo.connect() as line:
        request = demo.request("/data/JSESSION").replace(b"Connection: close\r\n", b"")
        for turn in (1, 2, 3):
            line.sendall(request)
            answer = b""
            while not answer.endswith((demo.session or "").encode()):
                answer += line.recv(4096)
            assert (b"Connection: close" in answer) == (turn == 3)
        assert line.recv(10) == b""


def test_maintenance_page(demo: Probe, site: Site, server: Server) -> None:
    site.maintenance = 503
    reply = demo.ask("/data/projects")
    assert reply.status == 503
    assert reply.header("Server") == "nginx"
    assert (reply.header("Content-Type") or "").startswith("text/html")
    site.maintenance = None
    assert demo.ask("/data/projects").status == 200


def test_writing_is_refused(demo: Probe) -> None:
    assert demo.ask("/data/projects", "POST", body=b"").status == 405
    assert demo.ask(f"{P}/subjects/Haofei01", "DELETE").status == 405
