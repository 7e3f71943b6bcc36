"""Writes kafka_jars.toml: every jar that the Kafka broker needs, pinned by version and SHA-256.

Run by hand when Kafka's version below changes: `python -m services.stack.kafka_lock`. Never part
of a start. Names no host: jgo knows where Maven artifacts live.
"""

import hashlib
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LOCK_PATH = Path(__file__).with_name("kafka_jars.toml")
KAFKA = "org.apache.kafka:kafka_2.13:4.4.0"
# Without a binding the broker logs nothing. The POMs bring slf4j-api 1.7, hence not log4j-slf4j2;
# the version is that of the log4j-core that Kafka itself brings. The trailing mark keeps jgo from
# applying the managed versions of log4j's own POM, which pin another kafka-clients (3.8.0).
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5!"
HEADER = f"""\
# The jars that {KAFKA} needs to run, with its log binding.
# Written by `python -m services.stack.kafka_lock`; do not edit.
"""
DOWNLOADS_AT_ONCE = 6


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar: its Maven coordinates, size and sum."""

    group: str
    artifact: str
    version: str
    classifier: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the cache, as Maven names it."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.jar"


def read_lock(path: Path = LOCK_PATH) -> tuple[LockedJar, ...]:
    """The locked jars, in class path order."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        LockedJar(
            group=jar["group"],
            artifact=jar["artifact"],
            version=jar["version"],
            classifier=jar.get("classifier", ""),
            size_bytes=jar["size_bytes"],
            sha256=jar["sha256"],
        )
        for jar in table["jar"]
    )


def render_lock(jars: tuple[LockedJar, ...]) -> str:
    """The lock file's text."""
    blocks = [HEADER]
    for jar in jars:
        lines = ["[[jar]]"]
        lines += [f'{name} = "{getattr(jar, name)}"' for name in ("group", "artifact", "version")]
        if jar.classifier:
            lines.append(f'classifier = "{jar.classifier}"')
        lines += [f"size_bytes = {jar.size_bytes}", f'sha256 = "{jar.sha256}"']
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def resolve(directory: Path) -> tuple[LockedJar, ...]:
    """Resolve and download everything anew into the directory."""
    # Only here: every start reads the lock, and jgo takes long to import.
    import jgo  # noqa: PLC0415 (only when it is needed)
    from jgo.maven import MavenContext  # noqa: PLC0415 (only when it is needed)

    maven = MavenContext(repo_cache=directory)

    def pinned(found: "jgo.maven.Artifact") -> LockedJar:
        component = maven.project(found.groupId, found.artifactId).at_version(found.version)
        content = component.artifact(found.classifier, found.packaging).resolve().read_bytes()
        return LockedJar(
            group=found.groupId,
            artifact=found.artifactId,
            version=found.version,
            classifier=found.classifier,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )

    artifacts = [a for a in jgo.resolve(f"{KAFKA}+{LOG_BINDING}") if a.packaging == "jar"]
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        return tuple(pool.map(pinned, artifacts))


def main() -> int:
    """Write the lock file."""
    with tempfile.TemporaryDirectory(prefix="tollgate-lock-") as directory:
        jars = resolve(Path(directory))
    LOCK_PATH.write_text(render_lock(jars), encoding="utf-8")
    mebibytes = sum(jar.size_bytes for jar in jars) / 1024 / 1024
    print(f"{LOCK_PATH}: {len(jars)} jars, {mebibytes:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
