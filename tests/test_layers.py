"""The architecture: who may import whom, and which library has its one home where.

``face -> flow -> shell -> core``, one way. What decides does not do: the core has no loop, no file, no socket, no clock
and no dice. Each library that does things is used in one place, so that its errors are translated there, once.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import xnat_sync

SRC = Path(xnat_sync.__file__).parent.parent
LAYERS = ("core", "shell", "flow", "face")  # each may import itself and those before it

# What touches the world, or waits, or differs from one call to the next.
IMPURE = frozenset(
    {
        "aiofiles",
        "aiohttp",
        "anyio",
        "asyncio",
        "concurrent",
        "ctypes",
        "fcntl",
        "fileinput",
        "ftplib",
        "getpass",
        "glob",
        "http",
        "importlib",
        "io",
        "keyring",
        "linecache",
        "locale",
        "logging",
        "mmap",
        "multiprocessing",
        "netrc",
        "os",
        "pathlib",
        "pickle",
        "platformdirs",
        "pty",
        "queue",
        "random",
        "resource",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shelve",
        "shutil",
        "signal",
        "site",
        "smtplib",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "termios",
        "threading",
        "time",
        "tqdm",
        "trio",
        "typer",
        "uuid",
        "urllib.request",
        "urllib3",
        "warnings",
        "webbrowser",
        "yarl",
        "zipfile",
    }
)
IMPURE_CALLS = frozenset(
    {"open", "print", "input", "exec", "eval", "__import__", "breakpoint", "now", "utcnow", "today", "fromfile"}
)
TASKS = frozenset({"create_task_group", "TaskGroup", "create_task", "ensure_future", "gather"})
HOMES: dict[str, Callable[[str], bool]] = {
    "aiohttp": lambda module: module in ("xnat_sync.shell.net", "xnat_sync.shell.cookies"),
    "aiofiles": lambda module: module == "xnat_sync.shell.disk",
    "tqdm": lambda module: module == "xnat_sync.shell.bars",
    "typer": lambda module: layer(module) == "face",
    "anyio": lambda module: layer(module) != "core",
}
BETWEEN_SHELLS = {
    ("xnat_sync.shell.net", "xnat_sync.shell.cookies"),
    ("xnat_sync.shell.net", "xnat_sync.shell.login"),
    ("xnat_sync.shell.disk", "xnat_sync.shell.reach"),
    ("xnat_sync.shell.stage", "xnat_sync.shell.disk"),
    ("xnat_sync.shell.stage", "xnat_sync.shell.reach"),
    ("xnat_sync.shell.mirror", "xnat_sync.shell.reach"),
    ("xnat_sync.shell.zipstore", "xnat_sync.shell.reach"),
    ("xnat_sync.shell.lock", "xnat_sync.shell.reach"),
    ("xnat_sync.shell.mirror", "xnat_sync.shell.disk"),
    ("xnat_sync.shell.mirror", "xnat_sync.shell.stage"),
    ("xnat_sync.shell.zipstore", "xnat_sync.shell.disk"),
    ("xnat_sync.shell.zipstore", "xnat_sync.shell.stage"),
    ("xnat_sync.shell.command", "xnat_sync.shell.disk"),
    ("xnat_sync.shell.lock", "xnat_sync.shell.disk"),
    ("xnat_sync.shell.bars", "xnat_sync.shell.show"),
}

Modules = Mapping[str, str]  # by dotted name, its source


def modules_of(folder: Path) -> dict[str, str]:
    """The modules under a folder; a package is named like its folder, with ``.__init__``."""
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.py"))
    }


def layer(module: str) -> str:
    """The layer of a module, ``""`` if it is in none."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if package == "xnat_sync" and name in LAYERS else ""


def imports(module: str, source: str, known: Iterable[str]) -> Iterator[str]:
    """What a module imports, wherever in it, as dotted names; of a package's modules each one that is named."""
    names = {name.removesuffix(".__init__") for name in known}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.split(".")[: -node.level]
                base = ".".join([*parent, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in names else base


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def against_the_layers(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        here = layer(module)
        for name in imports(module, source, modules):
            there = layer(name)
            if here and there and LAYERS.index(there) > LAYERS.index(here):
                yield f"{module} imports {name}"
            if here and is_of(name, "xnat_sync") and not there and name != "xnat_sync":
                yield f"{module} imports {name}"
            if here == "core" and name == "xnat_sync":
                yield f"{module} imports {name}"


def impure_imports(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        if layer(module) == "core":
            for name in imports(module, source, modules):
                if any(is_of(name, impure) for impure in IMPURE) or name == "urllib":
                    yield f"{module} imports {name}"


def called(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                yield function.id
            elif isinstance(function, ast.Attribute):
                yield function.attr


def impure_calls(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        if layer(module) == "core":
            yield from (f"{module} calls {name}" for name in called(source) if name in IMPURE_CALLS)


def waiting(modules: Modules) -> Iterator[str]:
    kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for module, source in modules.items():
        if layer(module) == "core" and any(isinstance(node, kinds) for node in ast.walk(ast.parse(source))):
            yield f"{module} waits"


def away_from_home(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        for name in imports(module, source, modules):
            for library, is_home in HOMES.items():
                if is_of(name, library) and is_of(module, "xnat_sync") and not is_home(module):
                    yield f"{module} imports {name}"


def tasks_outside_flow(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        if is_of(module, "xnat_sync") and layer(module) != "flow":
            nodes = list(ast.walk(ast.parse(source)))
            names = {node.id for node in nodes if isinstance(node, ast.Name)}
            names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
            yield from (f"{module} uses {name}" for name in sorted(names & TASKS))


def between_shells(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        if layer(module) == "shell":
            for name in imports(module, source, modules):
                if layer(name) == "shell" and (module, name) not in BETWEEN_SHELLS:
                    yield f"{module} imports {name}"


def between_programs(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        own = module.partition(".")[0]
        for name in imports(module, source, modules):
            if own in ("xnat_sync", "xnat_embedded") and name.partition(".")[0] in {"xnat_sync", "xnat_embedded"} - {
                own
            }:
                yield f"{module} imports {name}"


def without_a_word(modules: Modules) -> Iterator[str]:
    for module, source in modules.items():
        if not (ast.get_docstring(ast.parse(source)) or "").strip():
            yield f"{module} has no docstring"


Rule = Callable[[Modules], Iterator[str]]
RULES: dict[str, Rule] = {
    "imports go from face to flow to shell to core": against_the_layers,
    "the core imports nothing that touches the world": impure_imports,
    "the core calls nothing that touches the world": impure_calls,
    "the core never waits": waiting,
    "each library has its home": away_from_home,
    "tasks are begun in flow only": tasks_outside_flow,
    "modules of the shell do not know each other": between_shells,
    "client and embedded server do not know each other": between_programs,
    "every module opens by saying what it is": without_a_word,
}


@pytest.fixture(scope="module")
def source() -> Modules:
    return modules_of(SRC)


def test_the_source_is_all_here(source: Modules) -> None:
    assert {layer(module) for module in source} == {"", *LAYERS}
    assert {module.partition(".")[0] for module in source} == {"xnat_sync", "xnat_embedded"}
    assert {"xnat_sync.core.plan", "xnat_sync.shell.net", "xnat_sync.flow.engine", "xnat_sync.face.cli"} <= set(source)


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule: str, source: Modules) -> None:
    assert list(RULES[rule](source)) == []


def test_every_home_is_lived_in(source: Modules) -> None:
    used = {module: list(imports(module, text, source)) for module, text in source.items()}
    for library, is_home in HOMES.items():
        users = [module for module, names in used.items() if any(is_of(name, library) for name in names)]
        assert any(map(is_home, users)), f"nothing imports {library}: the rule about it cannot fail"


# -- and each rule can fail -------------------------------------------------------------------------------------

OTHERS = {
    "xnat_sync.core.plan": '"""."""',
    "xnat_sync.shell.net": '"""."""',
    "xnat_sync.shell.disk": '"""."""',
    "xnat_sync.flow.engine": '"""."""',
    "xnat_sync.face.cli": '"""."""',
}
BROKEN = [
    (against_the_layers, "xnat_sync.core.x", "from xnat_sync.shell import net", "xnat_sync.shell.net"),
    (against_the_layers, "xnat_sync.core.x", "from ..shell.net import Client", "xnat_sync.shell.net"),
    (against_the_layers, "xnat_sync.core.x", "from .. import flow", "xnat_sync"),
    (against_the_layers, "xnat_sync.core.x", "from xnat_sync import __version__", "xnat_sync"),
    (against_the_layers, "xnat_sync.shell.x", "import xnat_sync.flow.engine", "xnat_sync.flow.engine"),
    (against_the_layers, "xnat_sync.flow.x", "def f():\n    from ..face import cli", "xnat_sync.face.cli"),
    (against_the_layers, "xnat_sync.flow.x", "from xnat_sync.__main__ import main", "xnat_sync.__main__"),
    (impure_imports, "xnat_sync.core.x", "import os", "os"),
    (impure_imports, "xnat_sync.core.x", "import os.path as p", "os.path"),
    (impure_imports, "xnat_sync.core.x", "from pathlib import Path", "pathlib"),
    (impure_imports, "xnat_sync.core.x", "from urllib import request", "urllib"),
    (impure_imports, "xnat_sync.core.x", "def f():\n    import random", "random"),
    (impure_imports, "xnat_sync.core.x", "import anyio.to_thread", "anyio.to_thread"),
    (impure_calls, "xnat_sync.core.x", "datetime.now()", "now"),
    (impure_calls, "xnat_sync.core.x", "f = open('x')", "open"),
    (waiting, "xnat_sync.core.x", "async def f(): pass", "waits"),
    (away_from_home, "xnat_sync.shell.disk", "import aiohttp", "aiohttp"),
    (away_from_home, "xnat_sync.flow.x", "from aiohttp.web import Response", "aiohttp.web"),
    (away_from_home, "xnat_sync.shell.net", "import aiofiles", "aiofiles"),
    (away_from_home, "xnat_sync.face.x", "from tqdm import tqdm", "tqdm"),
    (away_from_home, "xnat_sync.flow.x", "import typer", "typer"),
    (tasks_outside_flow, "xnat_sync.face.x", "async with anyio.create_task_group() as g: pass", "create_task_group"),
    (tasks_outside_flow, "xnat_sync.shell.x", "from anyio import create_task_group", "create_task_group"),
    (between_shells, "xnat_sync.shell.x", "from . import net", "xnat_sync.shell.net"),
    (between_shells, "xnat_sync.shell.x", "from .disk import Stage", "xnat_sync.shell.disk"),
    (between_shells, "xnat_sync.shell.cookies", "from xnat_sync.shell.net import Client", "xnat_sync.shell.net"),
    (between_programs, "xnat_sync.face.x", "import xnat_embedded", "xnat_embedded"),
    (between_programs, "xnat_embedded.x", "from xnat_sync.core import urls", "xnat_sync.core"),
    (without_a_word, "xnat_embedded.x", "'not ' + 'one'", "docstring"),
    (without_a_word, "xnat_sync.x", "", "docstring"),
]


@pytest.mark.parametrize(("rule", "module", "source_", "named"), BROKEN, ids=[source for *_, source, _ in BROKEN])
def test_a_breach_is_found(rule: Rule, module: str, source_: str, named: str) -> None:
    found = list(rule(OTHERS | {module: source_}))
    assert len(found) == 1
    assert found[0].startswith(module)
    assert found[0].endswith(named)


ALLOWED = {
    "xnat_sync.core.x": '"""."""\nfrom . import plan\nfrom .plan import Kind\nfrom urllib.parse import quote',
    "xnat_sync.core.y": '"""."""\nfrom xnat_sync.core import select\nfrom .select import Target\nimport datetime',
    "xnat_sync.core.select": '"""."""',
    "xnat_sync.shell.net": '"""."""\nimport aiohttp, anyio\nfrom xnat_sync import a\nfrom .cookies import Jar',
    "xnat_sync.shell.cookies": '"""."""\nfrom aiohttp import abc\nfrom ..core import plan',
    "xnat_sync.shell.disk": '"""."""\nimport aiofiles, os',
    "xnat_sync.shell.bars": '"""."""\nfrom tqdm import tqdm',
    "xnat_sync.flow.x": '"""."""\nfrom anyio import create_task_group\nfrom ..shell import net\nfrom . import engine',
    "xnat_sync.face.x": '"""."""\nimport typer\nfrom xnat_sync.flow.engine import Engine\nfrom . import cli',
    "xnat_sync.__main__": '"""."""\nfrom xnat_sync.face.cli import main',
    "xnat_embedded.x": '"""."""\nimport aiohttp, asyncio\nasyncio.gather()',
}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_right_is_no_breach(rule: str) -> None:
    assert list(RULES[rule](OTHERS | ALLOWED)) == []
