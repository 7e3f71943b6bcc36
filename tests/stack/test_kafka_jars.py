"""Getting Kafka's jars: whole and with the pinned sum, or an explained refusal."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.stack import kafka_jars
from services.stack.console import silent
from services.stack.errors import FetchError
from services.stack.kafka_jars import JarCache, class_path
from services.stack.kafka_lock import LOCK_PATH, LockedJar, read_lock, render_lock

CONTENT = b"a jar"
JAR = LockedJar("g.h", "thing", "1.0", "", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class _Maven:
    """Stands in for jgo's MavenContext: `answer` writes the file, or raises."""

    def __init__(self, directory: Path, answer: Callable[[Path], None]) -> None:
        self.cached_path = directory / "download.jar"
        self.asked = 0
        self._answer = answer

    def project(self, _group: str, _artifact: str) -> "_Maven":
        return self

    at_version = artifact = lambda self, *_: self

    def resolve(self) -> Path:
        self.asked += 1
        self._answer(self.cached_path)
        return self.cached_path


def _stand_in(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Path], None]) -> list[_Maven]:
    made: list[_Maven] = []

    def maven(directory: Path) -> Any:
        made.append(_Maven(directory, answer))
        return made[-1]

    monkeypatch.setattr(kafka_jars, "_maven", maven)
    return made


def _right(path: Path) -> None:
    path.write_bytes(CONTENT)


def _other(path: Path) -> None:
    path.write_bytes(b"something else")


def _never(_path: Path) -> None:
    raise AssertionError("nothing should be fetched")


def test_a_jar_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _stand_in(monkeypatch, _right)
    cache = JarCache(tmp_path)
    said: list[str] = []
    paths = class_path(cache, [JAR], lambda _name, text: said.append(text))
    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert said[0].startswith("fetching Apache Kafka 1.0: 1 files")
    assert class_path(cache, [JAR], silent) == paths
    assert len(made) == 1


def test_a_checked_jar_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(monkeypatch, _right)
    class_path(JarCache(tmp_path), [JAR], silent)
    monkeypatch.setattr(kafka_jars, "_sha256", _never)
    class_path(JarCache(tmp_path), [JAR], silent)


def test_another_content_is_refused_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, _other)
    with pytest.raises(FetchError) as refused:
        class_path(JarCache(tmp_path), [JAR], silent)
    for part in ("thing-1.0.jar", JAR.sha256, hashlib.sha256(b"something else").hexdigest()):
        assert part in str(refused.value)
    assert "It was deleted" in str(refused.value)
    assert not list(tmp_path.rglob("*.jar"))


@pytest.mark.parametrize("damage", [b"", b"a j", b"b jar"])
def test_a_jar_damaged_in_the_cache_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    _stand_in(monkeypatch, _right)
    (path,) = class_path(JarCache(tmp_path), [JAR], silent)
    path.write_bytes(damage)
    class_path(JarCache(tmp_path), [JAR], silent)
    assert path.read_bytes() == CONTENT


def test_jars_put_there_by_hand_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, _never)
    (tmp_path / JAR.file_name).write_bytes(CONTENT)
    assert class_path(JarCache(tmp_path), [JAR], silent) == (tmp_path / "thing-1.0.jar",)


def test_without_a_network_it_says_so_after_three_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_path: Path) -> None:
        raise ConnectionError("no route")

    made = _stand_in(monkeypatch, away)
    with pytest.raises(FetchError, match=r"g\.h:thing:1\.0 cannot be fetched.*needs the network"):
        class_path(JarCache(tmp_path), [JAR], silent)
    assert made[0].asked == kafka_jars.TRIES


def test_a_download_that_breaks_off_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]

    def answer(path: Path) -> None:
        assert not path.exists(), "half a jar must not be taken for a whole one"
        path.write_bytes(b"half" if broken else CONTENT)
        if broken:
            broken.clear()
            raise ConnectionError("broke off")

    _stand_in(monkeypatch, answer)
    (path,) = class_path(JarCache(tmp_path), [JAR], silent)
    assert path.read_bytes() == CONTENT


def test_the_lock_holds_one_kafka_of_one_version_and_no_host() -> None:
    jars = read_lock()
    kafka = {jar.version for jar in jars if jar.group == "org.apache.kafka"}
    log4j = {jar.version for jar in jars if jar.group == "org.apache.logging.log4j"}
    assert len(kafka) == 1, "a managed version of another POM has crept in"
    assert len(log4j) == 1
    assert jars[0].artifact.startswith("kafka_")
    assert len({(jar.group, jar.artifact, jar.classifier) for jar in jars}) == len(jars)
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in jars)
    text = LOCK_PATH.read_text("utf-8")
    assert "://" not in text
    assert render_lock(jars) == text, "written by hand, not by kafka_lock"
