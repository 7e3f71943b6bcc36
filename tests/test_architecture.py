"""The rules of the house (STYLE, habits 3, 4, 11, 13 and Layout), read from the source itself."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("services", "schemas", "tests")
    for path in (ROOT / folder).rglob("*.py")
)

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 300
LINE_LENGTH_MAX = 100

# Who may import whom, below services. No stage imports another; only these compose: `serve` puts
# the gateway and the API behind one address, the walk-through shows the lag that ops measures, and
# a replay counts with the stages' own code.
# The command and the embedded stack start stages as modules by name, so they import none.
SHARED = {"domain", "runtime"}
MAY_IMPORT: dict[str, set[str]] = {
    "domain": set(),
    "runtime": {"domain"},
    "gateway": SHARED,
    "api": SHARED,
    "dedup": SHARED,
    "rating": SHARED,
    "projector": SHARED,
    "ops": SHARED,
    "replay": SHARED | {"dedup", "rating", "projector"},
    "stack": SHARED,
    "demo": SHARED | {"ops"},
    "serve": SHARED | {"api", "gateway"},
    "serve_api": SHARED | {"serve"},
    "serve_gateway": SHARED | {"serve"},
    "cli": set(),
    "__main__": {"cli"},
}
# The domain decides: nothing of the standard library that looks at, or changes, the world.
NOT_PURE = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
PURE = (sys.stdlib_module_names | {"services"}) - NOT_PURE
# Files or folders below services that may, and nobody else.
READS_ENVIRONMENT = (
    "runtime/settings.py", "runtime/process.py", "runtime/run_file.py", "ops", "stack", "demo",
)  # fmt: skip
# The demo is a client with a clock of its own; the stack compares the ages of files.
READS_WALL_CLOCK = ("runtime/clock.py", "demo/story.py", "stack/files.py")
MEASURES_DURATIONS = ("ops", "stack", "demo", "replay/progress.py")

ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.putenv"}
WALL_CLOCK = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now",
    "datetime.datetime.utcnow", "datetime.date.today", "time.time", "time.time_ns",
    "time.localtime", "time.gmtime",
}  # fmt: skip
MONOTONIC = {
    "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
    "time.process_time",
}  # fmt: skip

_PRAGMA = re.compile(r"#\s*(?:noqa|type:\s*ignore)")
_EXPLAINED = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*|type:\s*ignore\[[a-z, -]+\])(?P<why>.*)"
)

Fault = tuple[int, str]  # line, what is wrong
Rule = Callable[[str, str, ast.Module], Iterator[Fault]]


def faults(path: str, source: str) -> list[str]:
    """Everything in one file that breaks a rule, as path:line: what."""
    tree = ast.parse(source)
    found = [fault for rule in RULES for fault in rule(path, source, tree)]
    return [f"{path}:{line}: {what}" for line, what in sorted(found)]


def sizes(path: str, source: str, tree: ast.Module) -> Iterator[Fault]:
    """Functions, files and lines have an end."""
    lines = source.splitlines()
    if len(lines) > FILE_LINES_MAX:
        yield len(lines), f"the file has {len(lines)} lines"
    for number, line in enumerate(lines, 1):
        # A pragma cannot go on another line, so it does not count.
        if len(_PRAGMA.split(line)[0].rstrip()) > LINE_LENGTH_MAX:
            yield number, f"the line has {len(line)} characters"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {length} lines"


def docstring(path: str, source: str, tree: ast.Module) -> Iterator[Fault]:
    """A module opens with what it is for; an empty one in the tests has nothing to say."""
    bare_package = path.startswith("tests/") and not source.strip()
    if not bare_package and not ast.get_docstring(tree):
        yield 1, "no docstring"


def imports(path: str, source: str, tree: ast.Module) -> Iterator[Fault]:
    """Imports are absolute and follow MAY_IMPORT; the domain's are pure."""
    own = _part(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "a relative import"
        if not own or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for name in _imported(node):
            top, _, rest = name.partition(".")
            part = rest.split(".")[0]
            if top == "tests":
                yield node.lineno, f"imports the tests: {name}"
            elif top == "services" and part not in MAY_IMPORT.get(own, set()) | {own}:
                yield node.lineno, f"{own} may not import {name}"
            elif own == "domain" and top not in PURE:
                yield node.lineno, f"the domain may not import {name}"


def world(path: str, source: str, tree: ast.Module) -> Iterator[Fault]:
    """The environment and the clock are asked in few places, floats never enter the domain."""
    own = _part(path)
    if not own:
        return
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for name in _used(node):
            if name in ENVIRONMENT and not _among(path, READS_ENVIRONMENT):
                yield line, f"reads the environment: {name}"
            if name in WALL_CLOCK and not _among(path, READS_WALL_CLOCK):
                yield line, f"asks the time: {name}"
            if name in MONOTONIC and not _among(path, MEASURES_DURATIONS):
                yield line, f"asks the time: {name}"
        if own == "domain":
            if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
                yield line, f"a float in the domain: {node.value}"
            if isinstance(node, ast.Name) and node.id == "float":
                yield line, "float in the domain"


def handlers(path: str, source: str, tree: ast.Module) -> Iterator[Fault]:
    """Whoever catches everything raises it again, or says on the line why not."""
    lines = source.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        names = {"bare" if each is None else _dotted(each) for each in caught}
        if not names & {"bare", "Exception", "BaseException"}:
            continue
        raises = isinstance(node.body[-1], ast.Raise)
        if not raises and not _why(lines[node.lineno - 1].partition("#")[1:]):
            yield node.lineno, "catches everything and does not say why"


def pragmas(path: str, source: str, tree: ast.Module) -> Iterator[Fault]:
    """What switches a check off names the check and gives its reason."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and _PRAGMA.search(token.string):
            match = _EXPLAINED.search(token.string)
            if match is None or not re.search("[a-z]{2}", match["why"]):
                yield token.start[0], f"without a reason: {token.string}"


RULES: tuple[Rule, ...] = (sizes, docstring, imports, world, handlers, pragmas)


def _part(path: str) -> str:
    """Which part of services a file belongs to; empty for the rest and for the root."""
    steps = PurePosixPath(path).with_suffix("").parts
    return steps[1] if steps[0] == "services" and steps[1] != "__init__" else ""


def _among(path: str, allowed: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).is_relative_to(f"services/{each}") for each in allowed)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.module == "services":
        return [f"services.{alias.name}" for alias in node.names]
    return [node.module or ""]


def _used(node: ast.AST) -> list[str]:
    """Dotted names that a node uses, or imports one by one from os and time."""
    if isinstance(node, ast.ImportFrom) and node.module in {"os", "time"}:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [_dotted(node)] if isinstance(node, ast.Attribute) else []


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _why(comment: tuple[str, str]) -> bool:
    return re.search("[a-z]{2}", re.sub(r"noqa:\s*[A-Z0-9, ]+", "", "".join(comment))) is not None


@pytest.mark.parametrize("path", SOURCES)
def test_every_file_keeps_the_rules(path: str) -> None:
    assert faults(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_the_sources_are_found_and_every_part_is_in_the_table() -> None:
    assert {"services/domain/chain.py", "services/cli.py", "tests/conftest.py"} <= set(SOURCES)
    parts = {_part(path) for path in SOURCES} - {""}
    assert parts == set(MAY_IMPORT)


DOC = '"""What it is for."""\n'
DOMAIN, STAGE = "services/domain/x.py", "services/dedup/x.py"
PLANTED = [
    (STAGE, "x = 1", "no docstring"),
    ("tests/test_x.py", "x = 1", "no docstring"),
    (STAGE, DOC + "x = 1\n" * 300, "301 lines"),
    (STAGE, DOC + "x = '" + "y" * 100 + "'", "characters"),
    (STAGE, DOC + "async def f():\n" + "    x = 1\n" * 70, "f has 71 lines"),
    (STAGE, DOC + "from . import y", "relative"),
    (STAGE, DOC + "def f():\n    from services.rating.step import z", "may not import"),
    (STAGE, DOC + "from services import rating", "may not import"),
    (STAGE, DOC + "import services.api.app", "may not import"),
    (STAGE, DOC + "from services.serve import run", "may not import"),
    (STAGE, DOC + "from tests.conftest import Servers", "imports the tests"),
    ("services/runtime/x.py", DOC + "import services.gateway", "may not import"),
    ("services/demo/x.py", DOC + "import services.gateway", "may not import"),
    ("services/cli.py", DOC + "import services.api.app", "may not import"),
    (DOMAIN, DOC + "from services.runtime.log import Log", "may not import"),
    (DOMAIN, DOC + "import msgspec", "may not import"),
    (DOMAIN, DOC + "import os.path", "may not import"),
    (DOMAIN, DOC + "from time import monotonic", "may not import"),
    (DOMAIN, DOC + "import logging", "may not import"),
    (DOMAIN, DOC + "from datetime import datetime\nx = datetime.now()", "asks the time"),
    (DOMAIN, DOC + "x = 0.5", "a float"),
    (DOMAIN, DOC + "x = float(1)", "float in the domain"),
    (DOMAIN, DOC + "def f(x: float) -> None: ...", "float in the domain"),
    (STAGE, DOC + "import os\nx = os.environ['X']", "environment"),
    (STAGE, DOC + "import os\nx = os.getenv('X')", "environment"),
    (STAGE, DOC + "from os import environ", "environment"),
    ("services/runtime/http.py", DOC + "import os\nx = os.environ", "environment"),
    (STAGE, DOC + "import datetime\nx = datetime.datetime.now()", "asks the time"),
    (STAGE, DOC + "import time\nx = time.time()", "asks the time"),
    (STAGE, DOC + "import time\nx = time.monotonic()", "asks the time"),
    (STAGE, DOC + "try:\n    x = 1\nexcept:\n    pass", "catches everything"),
    (STAGE, DOC + "try:\n    x = 1\nexcept Exception:\n    pass", "catches everything"),
    (STAGE, DOC + "try:\n    x = 1\nexcept (OSError, Exception):\n    pass", "catches everything"),
    (
        STAGE,
        DOC + "try:\n    x = 1\nexcept Exception:  # noqa: BLE001\n    pass",
        "catches everything",
    ),
    (STAGE, DOC + "x = 1  # noqa", "without a reason"),
    (STAGE, DOC + "x = 1  # noqa: E501", "without a reason"),
    (STAGE, DOC + "x = 1  # noqa: E501, S608 ()", "without a reason"),
    (STAGE, DOC + "x = 1  # type: ignore", "without a reason"),
    (STAGE, DOC + "x = 1  # type: ignore[misc]", "without a reason"),
]
SOUND = [
    (STAGE, DOC + "from services.runtime.log import Log"),
    ("services/serve.py", DOC + "import services.api.app\nimport services.gateway.app"),
    ("services/runtime/clock.py", DOC + "from datetime import datetime\nx = datetime.now()"),
    ("services/runtime/settings.py", DOC + "import os\nx = os.environ"),
    ("services/stack/x.py", DOC + "import time\nx = time.monotonic()"),
    (DOMAIN, DOC + "from decimal import Decimal\nx = Decimal('0.5')"),
    (STAGE, DOC + "try:\n    x = 1\nexcept BaseException:\n    x = 2\n    raise"),
    (STAGE, DOC + "try:\n    x = 1\nexcept Exception:  # noqa: BLE001 (it ends)\n    pass"),
    (STAGE, DOC + "x = 1  # noqa: S608 (a constant)"),
    (STAGE, DOC + "x = 1  # type: ignore[misc]  # aiokafka ships no types"),
    (STAGE, DOC + "def f():\n" + "    x = 1\n" * 69),
    ("tests/x/__init__.py", ""),
]


@pytest.mark.parametrize(("path", "source", "what"), PLANTED)
def test_a_planted_violation_is_found(path: str, source: str, what: str) -> None:
    assert any(what in fault for fault in faults(path, source)), faults(path, source)


@pytest.mark.parametrize(("path", "source"), SOUND)
def test_what_keeps_the_rules_is_left_alone(path: str, source: str) -> None:
    assert faults(path, source) == []
