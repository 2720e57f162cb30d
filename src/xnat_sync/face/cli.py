"""The command line: options to settings, commands to runs, errors to one line and a documented exit code."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import anyio
import typer

from xnat_sync import __version__
from xnat_sync.core import select
from xnat_sync.core.errors import ItemError, RunError, UsageError
from xnat_sync.core.select import Target
from xnat_sync.core.settings import Settings
from xnat_sync.shell.show import plain, say

from . import account, browse, config, demo, offline, run
from .options import with_globals, with_settings

app = typer.Typer(
    name="xnat-sync",
    help="Mirror whole projects from an XNAT imaging archive: complete, verified, resumable.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Names = Annotated[list[str], typer.Argument(show_default=False)]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"xnat-sync {__version__}")
        raise typer.Exit


@app.callback()
@with_globals
def _program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command(name="project", epilog="Example: xnat-sync project PTV000 --dest /scratch")
@with_settings(mirror=True, select=True)
def project(
    settings: Settings, projects: Annotated[list[str] | None, typer.Argument(show_default=False)] = None
) -> int:
    """Mirror whole projects into DIR/PROJECT. The main job. Without a name, those that the profile lists."""
    named = list(dict.fromkeys(projects or settings.projects))
    if not named:
        raise UsageError("which project? Name one or more, or list them as 'projects' in a profile")
    return run.mirror(settings, [select.parse_target(name, 1) for name in named])


@app.command(name="subject", epilog="Example: xnat-sync subject PTV000/Haofei01 --dest /scratch")
@with_settings(mirror=True, select=True)
def subject(settings: Settings, subjects: Names) -> int:
    """Mirror subjects, named PROJECT/SUBJECT, with all that belongs to them."""
    return run.mirror(settings, [select.parse_target(name, 2) for name in subjects])


@app.command(name="experiment", epilog="Example: xnat-sync experiment PTV000/Haofei01/Haofei01_MR1 --dest /scratch")
@with_settings(mirror=True, select=True)
def experiment(settings: Settings, experiments: Names) -> int:
    """Mirror experiments, named PROJECT/SUBJECT/EXPERIMENT or by accession id."""
    targets: list[Target | str] = [
        select.parse_target(name, 3) if "/" in name.strip("/") else name for name in experiments
    ]
    return run.mirror(settings, targets)


@app.command(name="scan", epilog="Example: xnat-sync scan PTV000/Haofei01/Haofei01_MR1/4 --dest /scratch")
@with_settings(mirror=True, select=True)
def scan(settings: Settings, scans: Names) -> int:
    """Mirror scans, named PROJECT/SUBJECT/EXPERIMENT/SCAN."""
    return run.mirror(settings, [select.parse_target(name, 4) for name in scans])


@app.command(name="login", epilog="Example: xnat-sync login --host https://xnat.example.org --jsession -")
@with_settings()
def login(
    settings: Settings,
    token: Annotated[bool, typer.Option("--token", help="Get an alias token and keep that, for cron.")] = False,
    show_token: Annotated[bool, typer.Option("--show-token", help="Print the token, for use elsewhere.")] = False,
) -> int:
    """Log in and keep the session, or with --token an alias token, in a file that only you may read."""
    if token or show_token:
        return anyio.run(partial(account.login_token, settings, show=show_token))
    return anyio.run(account.login, settings)


@app.command(name="logout", epilog="Example: xnat-sync logout --host https://xnat.example.org")
@with_settings()
def logout(settings: Settings) -> int:
    """Close the kept session, take the kept alias token back, and forget both."""
    return anyio.run(account.logout, settings)


@app.command(name="whoami", epilog="Example: xnat-sync whoami --host https://xnat.example.org")
@with_settings()
def whoami(settings: Settings) -> int:
    """Tell who is logged in, where, and how long the session or token will live."""
    return anyio.run(account.whoami, settings)


@app.command(name="projects", epilog="Example: xnat-sync projects --json")
@with_settings()
def projects(settings: Settings) -> int:
    """List the projects that you may read."""
    return anyio.run(browse.projects, settings)


@app.command(name="ls", epilog="Example: xnat-sync ls PTV000/Haofei01/Haofei01_MR1")
@with_settings(select=True)
def ls(settings: Settings, path: Annotated[str, typer.Argument(show_default=False)]) -> int:
    """List what lies under PROJECT, PROJECT/SUBJECT, PROJECT/SUBJECT/EXPERIMENT or …/SCAN."""
    return anyio.run(browse.ls, settings, path)


@app.command(name="verify", epilog="Example: xnat-sync verify /scratch")
@with_settings()
def verify(
    settings: Settings,
    dest: Annotated[str, typer.Argument(show_default=False)],
    repair: Annotated[
        bool, typer.Option("--repair", help="Forget what is wrong, so that the next run fetches it.")
    ] = False,
    md5sum: Annotated[
        str | None, typer.Option("--md5sum", help="Write the sums there, for md5sum -c.", metavar="FILE")
    ] = None,
) -> int:
    """Hash every file in DEST again, offline; exit 3 if any is missing or changed."""
    return anyio.run(functools.partial(offline.verify, settings, dest, repair=repair, md5sum=md5sum))


@app.command(name="status", epilog="Example: xnat-sync status /scratch")
@with_settings()
def status(settings: Settings, dest: Annotated[str, typer.Argument(show_default=False)]) -> int:
    """Tell from the state alone what DEST holds, and how the last run ended."""
    return offline.status(settings, dest)


@app.command(name="demo", epilog="Example: xnat-sync demo --dest demo-data")
@with_settings(mirror=True, select=True)
def demonstrate(settings: Settings) -> int:
    """Start the embedded XNAT with a small project of real DICOM files, and mirror it."""
    return demo.demo(settings)


@app.command(name="serve-demo", epilog="Example: xnat-sync serve-demo --port 8080")
@with_settings()
def serve_demo(
    settings: Settings,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    folder: Annotated[str | None, typer.Option("--folder", help="Serve this folder instead of the demo.")] = None,
) -> int:
    """Start the embedded XNAT and print its URL and how to log in."""
    return demo.serve(port, folder)


app.add_typer(config.app, name="config")


def main(arguments: Sequence[str] | None = None) -> None:
    """The program. Every error that is not a bug ends as one line on stderr and its documented code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Closed by whoever started the program: nothing is read, and what is printed goes nowhere.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    # What a later Python may make of a pattern is nothing that cron should mail.
    warnings.filterwarnings("ignore", "Possible nested set", FutureWarning)
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="xnat-sync")
    except RunError as error:
        _end(str(error), error.exit_code)
    except ItemError as error:
        _end(str(error), 3)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except BrokenPipeError:
        pass
    finally:
        _let_go()


def _let_go() -> None:
    """Flush what was printed; if nobody reads it any more, the interpreter's own end must not fail for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _end(message: str, code: int) -> None:
    say(plain(f"xnat-sync: {message}"), sys.stderr)
    raise SystemExit(code)
