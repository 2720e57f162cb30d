"""The other XNAT clients from PyPI, each in an environment of its own, and the command with which it fetches a project.

They are asked for what they do best: all files of a whole project, unpacked where the client can do it, with the most
that it can do at once. The environments are kept in a folder, so that they are made once; what cannot be installed is
left out with a line that says so. Their versions are fixed, so that figures of different days can be compared.

Not here: dax, which wants a column of subjects that the embedded server does not have; copyxnat, which wants its
password typed; xnat-ingest, xnatpytools and others, which do not download.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .clock import Contender
from .datasets import PASSWORD, PROJECT, USER, Shape


@dataclass(frozen=True, slots=True)
class Client:
    """A rival: its distribution on PyPI and how it is told to fetch a project.

    ``script`` is for ``sh``, with the server in ``$XNAT_HOST``, the folder in ``$TARGET`` and its programs on the path.
    ``slow``: it takes so long over a server far away that one round has to do.
    """

    package: str
    version: str
    how: str
    script: Callable[[Shape], str]
    slow: bool = False
    #: What it needs and does not name as its dependency.
    also: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How it is named in tables."""
        return f"{self.package} {self.version}, {self.how}"


def _python(text: str) -> Callable[[Shape], str]:
    return lambda _: f"python -c '{text}'"


_XNATPY = f"""
import os, xnat
with xnat.connect(os.environ["XNAT_HOST"], user="{USER}", password="{PASSWORD}", loglevel="ERROR") as site:
    site.projects["{PROJECT}"].download_dir(os.environ["TARGET"], verbose=False)
"""

_PYXNAT = f"""
import os, pyxnat
site = pyxnat.Interface(server=os.environ["XNAT_HOST"], user="{USER}", password="{PASSWORD}")
for subject in site.select.project("{PROJECT}").subjects():
    for session in subject.experiments():
        for scan in session.scans():
            into = os.path.join(os.environ["TARGET"], session.label(), scan.id())
            os.makedirs(into)
            scan.resource("DICOM").get(into, extract=True)
site.disconnect()
"""

_YAXIL = f"""
import os, sys, yaxil
server = yaxil.XnatAuth(url=os.environ["XNAT_HOST"], username="{USER}", password="{PASSWORD}", cookie=dict())
with yaxil.session(server):
    for number in sys.argv[1:]:
        into = os.path.join(os.environ["TARGET"], number)
        yaxil.download(server, "", aid=number, out_dir=into, in_mem=False, out_format="native")
"""


def _xnatctl(shape: Shape) -> str:
    one = f'xnatctl session download -q -E "$0" -P {PROJECT} --out "$TARGET" -w 8 -r DICOM --extract'
    return f"for n in {_sessions(shape)}; do sh -c '{one}' $n || exit 1; done"


def _xnatbidscli(shape: Shape) -> str:
    config = f"[xnatbidscli]\\nserver = %s\\nusername = {USER}\\npassword = {PASSWORD}\\n"
    return (
        'mkdir -p "$HOME/.xnatbidscli" && f="$HOME/.xnatbidscli/credentials.cfg" && '
        f'printf "{config}" "$XNAT_HOST" > "$f" && chmod 600 "$f" && '
        f'xnatbidscli query -o "$HOME/found" {PROJECT} && '
        'xnatbidscli download -c "$HOME"/found/*.csv -o "$TARGET" -n 8'
    )


def _sessions(shape: Shape) -> str:
    return " ".join(f"S{number:05}_MR1" for number in range(shape.sessions))


def _yaxil(shape: Shape) -> str:
    return f"python -c '{_YAXIL}' {_accessions(shape)}"


def _accessions(shape: Shape) -> str:
    return " ".join(f"XNAT_E{number + 1:05}" for number in range(shape.sessions))


CLIENTS = (
    Client("xnat", "0.8.1", "download_dir of the project", _python(_XNATPY)),
    Client("pyxnat", "1.6.4", "resource by resource", _python(_PYXNAT), slow=True, also=("nibabel", "pandas")),
    Client("yaxil", "0.17.0", "given the sessions, one by one", _yaxil),
    Client("xnatctl", "0.6.0", "session by session, 8 workers", _xnatctl),
    Client("xnatbidscli", "2.0.0", "8 sessions at once", _xnatbidscli, slow=True, also=("nibabel", "pandas")),
    Client(
        "xnatutils", "0.10.0", "xnat-get of the project",
        lambda _: f'xnat-get -p {PROJECT} -r DICOM -t "$TARGET" -n', slow=True,
    ),
)  # fmt: skip


def installed(folder: str, *, install: bool, say: Callable[[str], None]) -> tuple[list[Client], list[str]]:
    """The clients whose environments are in ``folder``, made there if ``install``; and what is left out, and why."""
    found, left_out = [], []
    for client in CLIENTS:
        home = _home(folder, client)
        if not os.path.exists(f"{home}/ready"):
            if not install:
                left_out.append(f"{client.package} is not in {folder}: a run without --quick installs it")
                continue
            say(f"installing {client.package} {client.version}")
            venv.create(home, with_pip=True, clear=True, symlinks=True)
            done = subprocess.run(
                [f"{home}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                 f"{client.package}=={client.version}", *client.also],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                why = (done.stderr.strip().splitlines() or ["for no reason that pip tells"])[-1]
                left_out.append(f"{client.package} {client.version} cannot be installed: {why}")
                continue
            open(f"{home}/ready", "w").close()
        found.append(client)
    return found, left_out


def contender(client: Client, folder: str, url: str, shape: Shape, rounds: int) -> Contender:
    """The client as a contender for a server, in so many rounds after the warm-up; 0: the warm-up has to do."""

    def command(target: str) -> Sequence[str]:
        # Its home is beside the target, so that nothing that it keeps there serves it in the next round.
        home = f"{os.path.dirname(target)}/home"
        os.makedirs(home, exist_ok=True)
        return ["env", f"TARGET={target}", f"HOME={home}", "sh", "-c", client.script(shape)]

    path = f"{_home(folder, client)}/bin:{os.environ['PATH']}"
    login = {"PATH": path, "XNAT_HOST": url, "XNAT_URL": url, "XNAT_USER": USER, "XNAT_PASS": PASSWORD}
    return Contender(client.title, command, login, rounds=rounds, limit=300)


def _home(folder: str, client: Client) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return os.path.join(folder, f"{client.package}-{client.version}-py{version}")
