"""Gets the pinned jars of Kafka into the cache, once, and hands out the class path.

A jar enters the cache only whole and with the SHA-256 of the lock file. Names no host: jgo knows
where Maven artifacts live, and takes mirrors from its own settings file.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.stack.console import Announce, Stopwatch
from services.stack.errors import FetchError
from services.stack.files import private_directory, read_json, remove_stale, write_json
from services.stack.kafka_lock import LockedJar

if TYPE_CHECKING:
    from jgo.maven import MavenContext

# More does not help: 43 MB in a few large files.
DOWNLOADS_AT_ONCE = 6
# For a connection or a pause within a download, not for the whole of it.
NETWORK_WAIT_S_MAX = 30
# A dropped connection in 45 downloads is not rare; an absent network fails three times quickly.
TRIES = 3
# What is older in the folder aside was left by a process that was killed.
_ASIDE = ".fetching-"
_ASIDE_AGE_S_MIN = 60 * 60


@dataclass(frozen=True, slots=True)
class JarCache:
    """A folder of jars, with a note of those whose content was checked.

    The note holds size and modification time, so that a start need not hash 43 MB again.
    """

    directory: Path

    def path(self, jar: LockedJar) -> Path:
        """Where the jar is, or will be."""
        return self.directory / jar.file_name

    def missing(self, jars: Sequence[LockedJar]) -> list[LockedJar]:
        """The jars that are not there with their right content; one that is wrong is deleted."""
        notes = read_json(self._notes_path)
        missing = []
        for jar in jars:
            if not self.path(jar).is_file():
                missing.append(jar)
            elif notes.get(jar.file_name) != self._note(jar):
                if _sha256(self.path(jar)) == jar.sha256:
                    continue
                self.path(jar).unlink()
                missing.append(jar)
        return missing

    def note_checked(self, jars: Sequence[LockedJar]) -> None:
        """Remember that these have their right content; `missing` has just found them so."""
        notes = {jar.file_name: self._note(jar) for jar in jars}
        if read_json(self._notes_path) != notes:
            write_json(self._notes_path, notes)

    @property
    def _notes_path(self) -> Path:
        return self.directory / "checked.json"

    def _note(self, jar: LockedJar) -> list[str | int]:
        status = self.path(jar).stat()
        return [jar.sha256, status.st_size, status.st_mtime_ns]


def class_path(
    cache: JarCache,
    jars: Sequence[LockedJar],
    announce: Announce,
    cancelled: threading.Event | None = None,
) -> tuple[Path, ...]:
    """The jars' paths in the order of the lock, fetched first where missing.

    Blocks for as long as the network takes, or until the jars that are on their way are there once
    `cancelled` is set. Raises FetchError.
    """
    cancelled = cancelled or threading.Event()
    private_directory(cache.directory)
    missing = cache.missing(jars)
    if missing:
        mebibytes = sum(jar.size_bytes for jar in missing) / 1024 / 1024
        version = jars[0].version
        announce(
            "kafka",
            f"fetching Apache Kafka {version}: {len(missing)} files, {mebibytes:.0f} MB, once",
        )
        stopwatch = Stopwatch()
        _fetch(cache, missing, cancelled)
        announce("kafka", f"fetched ({stopwatch})")
    cache.note_checked(jars)
    return tuple(cache.path(jar) for jar in jars)


def _fetch(cache: JarCache, jars: Sequence[LockedJar], cancelled: threading.Event) -> None:
    # jgo writes a download in place, so a kill would leave half a jar under its final name; hence
    # a folder aside, and a rename once the sum is right. Two processes may do this at once.
    remove_stale(cache.directory, _ASIDE, _ASIDE_AGE_S_MIN)
    with (
        tempfile.TemporaryDirectory(prefix=_ASIDE, dir=cache.directory) as aside,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):
        maven = _maven(Path(aside))
        futures: list[Future[None]] = [pool.submit(_fetch_one, cache, maven, j) for j in jars]
        try:
            for future in as_completed(futures):
                future.result()
                if cancelled.is_set():
                    raise FetchError("Fetching Kafka was interrupted; the next start goes on.")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _maven(repo_cache: Path) -> "MavenContext":
    try:
        # Only here: importing jgo costs a quarter of a second, and a later start needs none of it.
        from jgo.config import GlobalSettings  # noqa: PLC0415 (only when it is needed)
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 (only when it is needed)
        from jgo.maven import MavenContext  # noqa: PLC0415 (only when it is needed)
    except ImportError as error:
        raise FetchError(
            f"Kafka cannot be fetched: {error}. Install Tollgate with its extra 'embedded', or"
            " set KAFKA_BOOTSTRAP_SERVERS to a Kafka that is running."
        ) from error
    repositories = dict(GlobalSettings.load().repositories)
    repositories.setdefault("central", MAVEN_CENTRAL_URL)
    return MavenContext(
        repo_cache=repo_cache, remote_repos=repositories, timeout=NETWORK_WAIT_S_MAX
    )


def _fetch_one(cache: JarCache, maven: "MavenContext", jar: LockedJar) -> None:
    fetched = _download(cache, maven, jar)
    found = _sha256(fetched)
    if found != jar.sha256:
        fetched.unlink()
        raise FetchError(
            f"{jar.file_name} as fetched is not the pinned one: its SHA-256 is {found}, the lock"
            f" file says {jar.sha256}. It was deleted. Something between here and the registry"
            " changes files (a proxy or a mirror): start again elsewhere, or put the right file"
            f" at {cache.path(jar)} by hand."
        )
    fetched.replace(cache.path(jar))


def _download(cache: JarCache, maven: "MavenContext", jar: LockedJar) -> Path:
    component = maven.project(jar.group, jar.artifact).at_version(jar.version)
    artifact = component.artifact(jar.classifier)
    for tries_left in reversed(range(TRIES)):
        try:
            return Path(artifact.resolve())
        # requests' errors are OSErrors; jgo raises RuntimeError for an artifact that is nowhere.
        except (OSError, RuntimeError) as error:
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)
            if tries_left == 0:
                raise FetchError(
                    f"{jar.group}:{jar.artifact}:{jar.version} cannot be fetched:"
                    f" {type(error).__name__}. The first start needs the network (a Maven mirror"
                    " can be named in jgo's settings file); later ones do not. Or copy the jars"
                    f" of kafka_jars.toml into {cache.directory}, or set KAFKA_BOOTSTRAP_SERVERS"
                    " to a Kafka that is running."
                ) from error
    raise AssertionError("the last try returns or raises")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(paths: Sequence[Path]) -> str:
    """Changes whenever a jar, its place or its modification time does, as Java sees it."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{os.fspath(path)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
