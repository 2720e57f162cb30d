"""Where the configuration file lies, and reading the chosen profile from it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace

import platformdirs

from xnat_sync.core import profiles
from xnat_sync.core.errors import UsageError
from xnat_sync.core.profiles import Profile
from xnat_sync.core.settings import OPTIONS, Given

_PATHS = frozenset(option.name for option in OPTIONS if option.metavar in ("FILE", "DIR"))
KNOWN = tuple(option.name for option in OPTIONS if option.profile)


def _set(name: str, flags: Mapping[str, Given], environment: Mapping[str, str]) -> str | None:
    given = flags.get(name) or environment.get(f"XNAT_SYNC_{name.upper()}")
    return given if isinstance(given, str) else None


def path(flags: Mapping[str, Given], environment: Mapping[str, str]) -> str:
    """The file that is read: the one named with ``--config``, else the user's own."""
    return _set("config", flags, environment) or os.path.join(platformdirs.user_config_dir("xnat-sync"), "config.toml")


def profile(flags: Mapping[str, Given], environment: Mapping[str, str]) -> Profile | None:
    """The profile to use, ``~`` in its paths expanded. Raises ``UsageError``."""
    where = path(flags, environment)
    name = _set("profile", flags, environment)
    text = _read(where)
    if text is None:
        if name is not None or _set("config", flags, environment) is not None:
            raise UsageError(f"there is no configuration file {where}; 'xnat-sync config init' writes a sample")
        return None
    found = profiles.chosen(text, where, name, KNOWN)
    if found is None:
        return None
    values = {
        key: os.path.expanduser(value) if key in _PATHS and isinstance(value, str) else value
        for key, value in found.values.items()
    }
    return replace(found, values=values)


def _read(where: str) -> str | None:
    try:
        with open(where, encoding="utf-8") as file:
            # A profile may name commands to run, so whoever writes it runs commands as this user.
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise UsageError(f"{where} may be written to by everybody: chmod o-w {where}")
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration file {where} cannot be read: {error}") from None
