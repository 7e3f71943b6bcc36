"""Apache Kafka as one node, broker and controller (KRaft): the log between the stages.

Its settings are for one machine: one copy of everything, and back within seconds after a kill.
"""

import asyncio
import base64
import shutil
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

from services.stack.console import Announce
from services.stack.files import private_directory, write_atomically
from services.stack.java import Java, find_java
from services.stack.kafka_archive import COLLECTOR, ClassArchive
from services.stack.kafka_jars import JarCache, class_path, fingerprint
from services.stack.kafka_lock import LockedJar
from services.stack.kafka_probe import serves
from services.stack.process import Command, run_to_end, server_environ
from services.stack.server import READY_POLL_S

_HOST = "127.0.0.1"
_FORMAT_WAIT_S_MAX = 60.0
# The gateway's largest body; a record is never larger than the request it came in.
_MESSAGE_BYTES_MAX = 4 * 1024 * 1024

_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss.SSS} %p %m (%c{1})%n%throwable
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
"""


@dataclass
class KafkaServer:
    """One node with its log in `directory`."""

    directory: Path
    cache_dir: Path
    log_path: Path
    port: int
    controller_port: int
    heap: str
    java_home: Path | None
    jars: tuple[LockedJar, ...]
    announce: Announce

    def __post_init__(self) -> None:
        self._java: Java | None = None
        self._class_path = ""
        self._archive: ClassArchive | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return "kafka"

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"{_HOST}:{self.port}"

    async def prepare(self) -> None:
        """Get the jars, write the configuration, format the log directory if there is none."""
        if self._java is None:
            java = find_java(self.java_home)
            cache = JarCache(self.cache_dir / "kafka")
            jars = await self._fetched(cache)
            self._class_path = ":".join(map(str, jars))
            self._archive = ClassArchive.of(
                self.cache_dir / "java", fingerprint(jars), java.executable, java.version
            )
            self._java = java
        private_directory(self.directory / "tmp")
        write_atomically(self.directory / "log4j2.properties", _LOG4J)
        write_atomically(self._configuration_path, self._configuration(self._data_dir))
        if not self._data_dir.exists():
            await self._format()

    def command(self) -> Command:
        """How to start it."""
        assert self._archive is not None, "prepare comes first"
        return self._java_command(
            *self._archive.options(self._class_list),
            "-cp",
            self._class_path,
            "kafka.Kafka",
            str(self._configuration_path),
        )

    async def wait_ready(self) -> None:
        """Return once it answers, and counts itself among the brokers that serve."""
        while not await serves(_HOST, self.port):
            await asyncio.sleep(READY_POLL_S)

    def forgive_early_death(self) -> bool:
        """An archive whose middle is damaged crashes Java: without it, it may well start."""
        return self._archive is not None and self._archive.discard()

    async def make_archive(self) -> None:
        """Make the class archive if there is none; some seconds of work in the background."""
        assert self._archive is not None, "prepare comes first"
        assert self._java is not None, "prepare comes first"
        if not self._archive.path.exists() and self._class_list.exists():
            await self._archive.make(
                self._java.executable,
                self._class_path,
                self._class_list,
                self.log_path.with_name("kafka-archive.log"),
            )

    @property
    def _data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def _class_list(self) -> Path:
        return self.directory / "tmp" / "classes"

    @property
    def _configuration_path(self) -> Path:
        return self.directory / "server.properties"

    def _java_command(self, *arguments: str) -> Command:
        assert self._java is not None, "prepare comes first"
        return Command(
            argv=(
                str(self._java.executable),
                f"-Xmx{self.heap}",
                COLLECTOR,
                "-XX:-UsePerfData",  # a file in the machine's /tmp, for tools we do not use
                "-XX:+ExitOnOutOfMemoryError",  # the supervisor starts it anew
                f"-XX:ErrorFile={self.directory / 'tmp' / 'crash.log'}",
                f"-Djava.io.tmpdir={self.directory / 'tmp'}",
                "-Djava.awt.headless=true",
                "-Dlog4j2.disable.jmx=true",
                f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}",
                *arguments,
            ),
            environ=server_environ(),
            cwd=self.directory,
        )

    async def _fetched(self, cache: JarCache) -> tuple[Path, ...]:
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(class_path, cache, self.jars, self.announce, cancelled)
        finally:
            cancelled.set()  # the thread does not notice that nobody waits for it any more

    async def _format(self) -> None:
        """Aside, then renamed: a kill in the middle leaves no half-formatted directory."""
        self.announce("kafka", "formatting its log directory")
        aside = self.directory / "data.new"
        shutil.rmtree(aside, ignore_errors=True)
        configuration_path = self.directory / "format.properties"
        write_atomically(configuration_path, self._configuration(aside))
        format_log = self._java_command(
            "-cp",
            self._class_path,
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={_new_cluster_id()}",
            f"--config={configuration_path}",
        )
        await run_to_end(self.name, format_log, self.log_path, _FORMAT_WAIT_S_MAX)
        configuration_path.unlink()
        aside.rename(self._data_dir)

    def _configuration(self, data_dir: Path) -> str:
        broker, controller = f"{_HOST}:{self.port}", f"{_HOST}:{self.controller_port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"BROKER://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{broker}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": _escaped(data_dir),
            # One node: one copy, and few partitions of its own topics to recover.
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # A topic that nobody declared is a spelling mistake.
            "auto.create.topics.enable": "false",
            # There is no fleet of consumers to wait for.
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 6000,
            # After a kill the controller waits this long for the former self: 9 s by default.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            "message.max.bytes": _MESSAGE_BYTES_MAX,
            "replica.fetch.max.bytes": _MESSAGE_BYTES_MAX,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())


def _new_cluster_id() -> str:
    """A random id as Kafka writes them: 16 bytes in URL-safe base 64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")


def _escaped(path: Path) -> str:
    """The path as a value in a Java properties file."""
    return str(path).replace("\\", "\\\\")
