"""The settings as command-line options: the same table for every command, before it and after it.

A command asks for the settings it uses; their options are made here from ``core.settings`` and handed to typer, so
that help, environment and defaults cannot drift apart. What was given before the command is overridden by what was
given after it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from xnat_sync.core import settings as known
from xnat_sync.core.settings import OPTIONS, Option, Settings

from . import configfile


def _parameter(option: Option) -> inspect.Parameter:
    panel = "Mirroring" if option.mirror else "What to take" if option.select else "Connection and output"
    default = "" if option.default in (None, False, "", ()) else known.shown(option, option.default)
    # A switch is given as a flag and becomes the text 1, so that all settings are text until they are parsed.
    kind: Any = bool | None if option.is_switch else list[str] | None if option.repeated else str | None
    info = typer.Option(
        *option.flags,
        help=f"{option.help} (default {default})" if default else option.help,  # Brackets would be markup.
        metavar=None if option.is_switch else option.metavar,
        rich_help_panel=panel,
        show_default=False,
    )
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info]
    )


def _as_text(value: object) -> known.Given:
    if value is None or value is False or value == []:
        return None
    if isinstance(value, list):
        return [str(one) for one in value]
    return "1" if value is True else str(value)


def take(values: dict[str, Any], offered: Sequence[Option]) -> dict[str, known.Given]:
    """Remove the settings from a command's values, and give them as text."""
    return {o.name: _as_text(values.pop(o.name, None)) for o in offered}


def _offered(*, mirror: bool, select: bool) -> list[Option]:
    return [o for o in OPTIONS if o.flags and (mirror or not o.mirror) and (select or not o.select)]


def with_settings(
    *, mirror: bool = False, select: bool = False, profile: bool = True
) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Give a command all settings as options; it gets a ``Settings`` first.

    With ``mirror`` these include the settings of mirroring, with ``select`` those of what to take.

    Without ``profile`` the configuration file is not read. The command returns its exit code.
    """

    offered = _offered(mirror=mirror, select=select)

    def decorate(command: Callable[..., int]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        parameters = [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *own,
            *(_parameter(option) for option in offered),
        ]

        @functools.wraps(command)
        def run(context: typer.Context, **values: Any) -> None:
            before: dict[str, known.Given] = context.obj or {}
            after = {key: text for key, text in take(values, offered).items() if text is not None}
            flags = {**before, **after}
            settings = known.merge(flags, os.environ, configfile.profile(flags, os.environ) if profile else None)
            raise typer.Exit(command(settings, **values))

        keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters[1:]]
        run.__signature__ = inspect.Signature([parameters[0], *keyword])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def with_globals(callback: Callable[..., None]) -> Callable[..., None]:
    """Give the program's own callback the settings that may stand before a command."""
    own = list(inspect.signature(callback, eval_str=True).parameters.values())
    offered = _offered(mirror=False, select=False)
    parameters = own + [_parameter(option) for option in offered]

    @functools.wraps(callback)
    def run(context: typer.Context, **values: Any) -> None:
        context.obj = take(values, offered)
        callback(context, **values)

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters[1:]]
    run.__signature__ = inspect.Signature([parameters[0], *keyword])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


__all__ = ["Settings", "with_globals", "with_settings"]
