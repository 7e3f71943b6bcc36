"""Kafka's classes, parsed once and kept in an archive that Java maps into memory (class data
sharing): the broker starts in half the time.

The archive is made aside, at the lowest priority, from the list of classes that a running broker
has loaded, and renamed when whole. It is only ever a help: absent, stale or broken, Kafka starts
without it.
"""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from services.stack.errors import StartError
from services.stack.files import private_directory, remove_stale
from services.stack.process import Command, run_to_end, server_environ

# About 6 s of one core; at the lowest priority on a busy machine it may take many times that.
_DUMP_WAIT_S_MAX = 300.0
_NICENESS = 19
# What is older in the folder aside was left by a process that was killed.
_ASIDE = ".archive-"
_ASIDE_AGE_S_MIN = 60 * 60
# Those of earlier versions take 67 MB each; one in use that goes is simply made again.
_ARCHIVE_AGE_S_MAX = 30 * 24 * 60 * 60
# Java checks archives against the collector it was dumped under.
COLLECTOR = "-XX:+UseSerialGC"


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The archive of one set of jars and one Java."""

    directory: Path
    key: str

    @classmethod
    def of(
        cls, directory: Path, jars_fingerprint: str, java: Path, java_version: str
    ) -> "ClassArchive":
        """The archive that fits these jars and this Java, there or not."""
        status = java.stat()
        text = f"{jars_fingerprint}\0{java}\0{java_version}\0{status.st_size}\0{status.st_mtime_ns}"
        return cls(directory, hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def path(self) -> Path:
        """Where it is, once made."""
        return self.directory / f"kafka-{self.key}.jsa"

    def options(self, class_list: Path) -> tuple[str, ...]:
        """Java's options: use the archive, or list the classes so that it can be made."""
        if self.path.exists():
            return (f"-XX:SharedArchiveFile={self.path}",)
        return (f"-XX:DumpLoadedClassList={class_list}",)

    def discard(self) -> bool:
        """Remove it; tells whether it was there."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

    async def make(self, java: Path, class_path: str, class_list: Path, log_path: Path) -> bool:
        """Make it from a running broker's list; False when Java could not, which harms nobody."""
        private_directory(self.directory)
        remove_stale(self.directory, _ASIDE, _ASIDE_AGE_S_MIN)
        remove_stale(self.directory, "kafka-", _ARCHIVE_AGE_S_MAX)
        with tempfile.TemporaryDirectory(prefix=_ASIDE, dir=self.directory) as aside:
            listed = Path(aside) / "classes"
            listed.write_text(_whole_lines(class_list), encoding="utf-8")
            made = Path(aside) / "kafka.jsa"
            dump = Command(
                argv=(
                    str(java),
                    "-Xshare:dump",
                    COLLECTOR,
                    "-Xlog:disable",
                    f"-XX:SharedClassListFile={listed}",
                    f"-XX:SharedArchiveFile={made}",
                    "-cp",
                    class_path,
                ),
                environ=server_environ(),
                cwd=Path(aside),
                become=_be_nice,
            )
            try:
                await run_to_end("kafka", dump, log_path, _DUMP_WAIT_S_MAX)
            except StartError:
                return False
            made.replace(self.path)
            return True


def _be_nice() -> None:
    os.nice(_NICENESS)


def _whole_lines(class_list: Path) -> str:
    """The list without a last line that the broker is still writing."""
    text = class_list.read_text(encoding="utf-8", errors="replace")
    return text[: text.rfind("\n") + 1]
