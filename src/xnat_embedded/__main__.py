"""``python -m xnat_embedded``: serve a site on loopback until interrupted, or until standard input ends."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from types import FrameType
from typing import TextIO

from .demo import demo_site, small_site
from .dicom import PydicomMissing
from .odd import odd_site
from .server import Server
from .site import DEMO_PASSWORD, Site

_SITES = {"demo": (demo_site, "PTV000"), "small": (small_site, "PTV000"), "odd": (odd_site, "ODD")}


def main(arguments: list[str] | None = None) -> int:
    """Serve. Returns the exit code."""
    options = _options(arguments)
    try:
        site, project = _site(options)
    except PydicomMissing:
        _say("xnat_embedded: the demonstration data need pydicom: pip install 'xnat-sync[demo]'", sys.stderr)
        return 2
    except OSError as error:
        _say(f"xnat_embedded: {error}", sys.stderr)
        return 2
    site.latency_s = options.latency / 1000
    site.rate = options.rate
    site.require_login = not options.open
    ended = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        server = Server(site, options.port, host=options.host).start()
    except OSError as error:
        _say(f"xnat_embedded: cannot listen on {options.host}:{options.port}: {error.strerror}", sys.stderr)
        return 2
    try:
        _announce(server, project, as_json=options.json)
        if options.until_eof:
            threading.Thread(target=_wait_for_eof, args=(ended,), daemon=True).start()
        ended.wait()
    finally:
        server.stop()
    return 0


def _site(options: argparse.Namespace) -> tuple[Site, str]:
    if options.folder is not None:
        return Site.from_folder(options.folder, options.project), options.project
    make, project = _SITES[options.site]
    return make(), project


def _announce(server: Server, project: str, *, as_json: bool) -> None:
    facts = {"url": server.url, "user": "demo", "password": DEMO_PASSWORD, "project": project}
    if as_json:
        _say(json.dumps(facts), sys.stdout)
        return
    _say(f"Embedded XNAT at {facts['url']}  (stop it with Ctrl-C)", sys.stdout)
    _say(f"user {facts['user']}, password {facts['password']}, project {facts['project']}", sys.stdout)


def _say(line: str, to: TextIO) -> None:
    to.write(line + "\n")
    to.flush()


def _wait_for_eof(ended: threading.Event) -> None:
    """The parent's death closes our standard input.

    Read below Python's buffer: its lock, held by this thread at the end of the process, would be a fatal error.
    """
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m xnat_embedded", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=0, help="0: any free port (default)")
    parser.add_argument("--site", choices=sorted(_SITES), default="demo", help="which data to serve")
    parser.add_argument("--folder", help="serve SUBJECT/EXPERIMENT/scans/SCAN/RESOURCE/** from this folder instead")
    parser.add_argument("--project", default="FOLDER", help="the project's id with --folder")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS", help="delay before each answer")
    parser.add_argument("--rate", type=float, default=None, metavar="BYTES", help="bytes a second of each download")
    parser.add_argument("--open", action="store_true", help="let anonymous requests in, as guest")
    parser.add_argument("--json", action="store_true", help="print one JSON line when ready")
    parser.add_argument("--until-eof", action="store_true", help="also stop when standard input ends")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
