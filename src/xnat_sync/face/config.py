"""config show, path and init: which settings hold and why, and the file that a person may write them in."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator

import typer

from xnat_sync.core import settings as known
from xnat_sync.core.errors import UsageError
from xnat_sync.core.events import Exit
from xnat_sync.core.settings import OPTIONS, Option, Settings

from . import configfile
from .options import with_settings
from .tables import aligned

app = typer.Typer(help="The settings: which hold, from where, and the file for them.", no_args_is_help=True)
_HEADER = ("setting", "value", "source")


@app.command(name="show", epilog="Example: xnat-sync config show --profile work")
@with_settings(mirror=True, select=True)
def show(settings: Settings) -> int:
    """Print every setting, its value, and where that came from. Secrets are masked."""
    rows = [(o.name, known.shown(o, getattr(settings, o.name)), settings.sources[o.name]) for o in OPTIONS]
    if settings.json:
        print(json.dumps([dict(zip(_HEADER, row, strict=True)) for row in rows], indent=2))  # noqa: T201
    else:
        print(aligned(_HEADER, [(name, value or "-", source) for name, value, source in rows]))  # noqa: T201
    return int(Exit.OK)


def _where(settings: Settings) -> str:
    return configfile.path({"config": settings.config}, os.environ)


@app.command(name="path", epilog="Example: $EDITOR $(xnat-sync config path)")
@with_settings(profile=False)
def path(settings: Settings) -> int:
    """Print where the configuration file lies, or would lie."""
    print(_where(settings))  # noqa: T201
    return int(Exit.OK)


@app.command(name="init", epilog="Example: xnat-sync config init")
@with_settings(profile=False)
def init(settings: Settings) -> int:
    """Write a sample of the configuration file, everything in it commented out; never over one that is there."""
    where = _where(settings)
    try:
        os.makedirs(os.path.dirname(where) or ".", mode=0o700, exist_ok=True)
        with open(os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(sample())
    except FileExistsError:
        raise UsageError(f"{where} is there already, and is left as it is") from None
    except OSError as error:
        raise UsageError(f"{where} cannot be written: {error.strerror}") from None
    if not settings.quiet:
        print(f"a sample is written to {where}; xnat-sync config show tells what holds")  # noqa: T201
    return int(Exit.OK)


_INTRODUCTION = """\
# Settings of xnat-sync. Taken in this order: command line, environment, the profile chosen here, default.
# No secrets in this file: see password_command, netrc, and 'xnat-sync login'.
# 'xnat-sync config show' prints what holds and where it came from.

# default_profile = "work"    # used where no --profile is given

[profiles.work]
"""


def sample() -> str:
    """A configuration file with every setting in it, commented out."""
    return _INTRODUCTION + "".join(line + "\n" for option in OPTIONS if option.profile for line in _explained(option))


def _explained(option: Option) -> Iterator[str]:
    yield ""
    yield from textwrap.wrap(option.help, 100, initial_indent="# ", subsequent_indent="# ")
    yield f"# {option.name} = {_example(option)}"


def _example(option: Option) -> str:
    if option.name == "host":
        return '"https://xnat.example.org"'
    if option.repeated:
        return f'["{option.metavar}"]'
    match option.default:
        case bool():
            return "true"
        case int() as number:
            return str(number)
    return json.dumps(known.shown(option, option.default) or option.metavar)


__all__ = ["app", "sample"]
