"""What others use against XNAT works against the embedded one too, so that it is no server made for one client."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from system.harness import truth
from xnat_embedded import Server, Site, small_site

CURL, UNZIP = shutil.which("curl"), shutil.which("unzip")
LOGIN = ("--user", "demo:demo-password")
SCAN = "projects/PTV000/subjects/Haofei01/experiments/Haofei01_MR1/scans/4/resources/DICOM/files"
BELOW = "Haofei01/Haofei01_MR1/scans/4/DICOM/"


@pytest.fixture(scope="module")
def site() -> Site:
    return small_site()


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    with Server(site) as running:
        yield running


def curl(*arguments: str) -> str:
    if CURL is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [CURL, "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "30", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout


def test_curl_walks_from_a_login_to_a_listing(server: Server) -> None:
    """As the manuals of XNAT sites tell their users to."""
    session = curl(*LOGIN, f"{server.url}/data/JSESSION")
    assert len(session) == 32
    cookie = ("--cookie", f"JSESSIONID={session}")
    projects = json.loads(curl(*cookie, f"{server.url}/data/projects"))
    assert [row["ID"] for row in projects["ResultSet"]["Result"]] == ["PTV000"]
    assert "User 'demo' is logged in" in curl(*cookie, f"{server.url}/data/auth")
    listed = json.loads(curl(*cookie, f"{server.url}/data/{SCAN}"))["ResultSet"]["Result"]
    assert len(listed) == sum(path.startswith(BELOW) for path in truth(server.site))
    assert server.counts.sessions_opened == 1
    curl(*cookie, "--request", "DELETE", f"{server.url}/data/JSESSION")
    assert server.sessions.get("demo", []) == []


@pytest.mark.parametrize("prefix", ["data", "data/archive", "REST"])
def test_curl_fetches_a_scan_as_a_zip_that_unzip_finds_sound(server: Server, tmp_path: Path, prefix: str) -> None:
    if UNZIP is None:
        pytest.skip("unzip is not installed")
    path = tmp_path / "scan.zip"
    curl(*LOGIN, "--output", str(path), f"{server.url}/{prefix}/{SCAN}?format=zip")
    tested = subprocess.run([UNZIP, "-t", str(path)], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested
    assert "No errors detected" in tested.stdout
    subprocess.run([UNZIP, "-q", str(path), "-d", str(tmp_path / "out")], check=True)
    digests = {hashlib.md5(each.read_bytes()).hexdigest() for each in (tmp_path / "out").rglob("*") if each.is_file()}
    assert digests == {md5 for at, md5 in truth(server.site).items() if at.startswith(BELOW)}


def test_curl_goes_on_with_a_single_file(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "bold.nii.gz"
    at = "Haofei01/Haofei01_MR1/scans/6/NIFTI/6_bold.nii.gz"
    url = f"{server.url}/data/projects/PTV000/subjects/Haofei01/experiments/Haofei01_MR1/scans/6/resources/NIFTI/files"
    curl(*LOGIN, "--output", str(path), f"{url}/6_bold.nii.gz")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    curl(*LOGIN, "--continue-at", "-", "--output", str(path), f"{url}/6_bold.nii.gz")
    assert hashlib.md5(path.read_bytes()).hexdigest() == truth(server.site)[at]


_XNATPY = """
import sys, xnat
with xnat.connect(sys.argv[1], user="demo", password="demo-password", loglevel="ERROR") as site:
    session = site.projects["PTV000"].subjects["Haofei01"].experiments["Haofei01_MR1"]
    session.scans["4"].download_dir(sys.argv[2])
"""

_PYXNAT = """
import sys, pyxnat
site = pyxnat.Interface(server=sys.argv[1], user="demo", password="demo-password")
scan = site.select.project("PTV000").subject("Haofei01").experiment("Haofei01_MR1").scan("4")
for number, file in enumerate(scan.resource("DICOM").files()):
    file.get(f"{sys.argv[2]}/{number}.dcm")
site.disconnect()
"""


@pytest.mark.parametrize(("package", "script"), [("xnat", _XNATPY), ("pyxnat", _PYXNAT)])
def test_other_python_clients_download_from_it(server: Server, tmp_path: Path, package: str, script: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, server.url, str(out)],
        capture_output=True, text=True, timeout=90, check=False, env={"HOME": str(tmp_path), "NO_PROXY": "*"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    digests = {hashlib.md5(each.read_bytes()).hexdigest() for each in out.rglob("*") if each.is_file()}
    assert digests >= {md5 for at, md5 in truth(server.site).items() if at.startswith(BELOW)}
