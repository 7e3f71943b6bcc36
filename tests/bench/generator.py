"""The load, from a process of its own: one thread, epoll, HTTP/1.1 with keep-alive, no pipelining.

Reads its order as one line of JSON, makes the bodies, connects, says "ready", waits for a line, and
posts. A request that is not answered 200 is sent again, as clients must; its latency counts from
when it was first to be sent. Ends with one line of JSON. While it posts, the number of events
answered 200 stands in a shared file. Standard library only: it must cost little and start soon.
"""

import errno
import heapq
import json
import mmap
import select
import socket
import struct
import sys
import time
from collections import Counter, deque
from pathlib import Path

from tests.bench.bodies import Bodies, Shape
from tests.bench.replies import Reply, read_reply
from tests.bench.schedule import ClosedLoop, OpenLoop, Schedule

RETRY_S = 0.1
# A server that answers nothing for so long is broken.
ANSWER_S_MAX = 60.0
PROGRESS = struct.Struct("=Q")
_READ = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR


class Connection:
    """One connection with at most one request under way."""

    __slots__ = ("address", "busy", "due_s", "left", "number", "received", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.left = b""  # what is still to be sent
        self.received = b""
        self.number = 0
        self.due_s = 0.0
        self.busy = False  # between the first byte of a request and the last of its reply

    def send(self) -> bool:
        """Send what the socket takes; whether nothing is left."""
        try:
            taken = self.socket.send(self.left)
        except BlockingIOError:
            return False
        self.left = b"" if taken == len(self.left) else self.left[taken:]
        return not self.left

    def receive(self) -> Reply | None:
        """The reply once it is whole; raises ConnectionError when the server hung up."""
        try:
            piece = self.socket.recv(65_536)
        except BlockingIOError:
            return None
        if not piece:
            raise ConnectionResetError(errno.ECONNRESET, "closed by the server")
        self.received = self.received + piece if self.received else piece
        reply = read_reply(self.received)
        if reply is not None:
            self.received = b""
        return reply


class Generator:
    """Posts by a schedule over some connections."""

    def __init__(
        self,
        bodies: Bodies,
        schedule: Schedule,
        addresses: list[tuple[str, int]],
        connections: int,
        progress: memoryview,
    ) -> None:
        self._bodies = bodies
        self._batch = bodies.shape.batch
        self._schedule = schedule
        self._progress = progress
        self._poll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._again: list[tuple[float, float, int]] = []  # (when, first due, number)
        self._began_s = 0.0
        self.requests = 0
        self.accepted = 0
        self.statuses: Counter[str] = Counter()
        self.latencies_us: list[int] = []
        self.last_answer_s = 0.0
        for number in range(connections):
            self._connect(addresses[number % len(addresses)])

    def run(self) -> None:
        """Until everything was answered 200."""
        self._began_s = time.monotonic()
        wait_s: float | None = 0.0
        while True:
            now = time.monotonic() - self._began_s
            self._start_due(now)
            busy = len(self._by_fd) - len(self._idle)
            wait_s = self._wait_s(now)
            if wait_s is None and not busy:
                return
            if not self._idle or wait_s is None:
                wait_s = ANSWER_S_MAX
            ready = self._poll.poll(wait_s)
            if not ready and wait_s >= ANSWER_S_MAX:
                raise SystemExit(f"nothing was answered within {ANSWER_S_MAX:.0f} s")
            for fd, events in ready:
                self._go_on(self._by_fd[fd], events)

    def _wait_s(self, now: float) -> float | None:
        waits = [max(0.0, self._again[0][0] - now)] if self._again else []
        wait = self._schedule.wait_s(now)
        if wait is not None:
            waits.append(wait)
        return min(waits) if waits else None

    def _start_due(self, now: float) -> None:
        while self._idle:
            if self._again and self._again[0][0] <= now:
                _, due, number = heapq.heappop(self._again)
            else:
                taken = self._schedule.take(now)
                if taken is None:
                    return
                due, number = taken, self.requests
                self.requests += 1
            connection = self._idle.popleft()
            connection.number, connection.due_s = number, due
            connection.left = self._bodies.request(number)
            connection.busy = True
            try:
                if not connection.send():
                    self._poll.modify(connection.socket, _READ | select.EPOLLOUT)
            except ConnectionError as broken:
                self._replace(connection, broken)

    def _go_on(self, connection: Connection, events: int) -> None:
        try:
            if events & select.EPOLLOUT and connection.send():
                self._poll.modify(connection.socket, _READ)
            if not events & _READ:
                return
            reply = connection.receive()
        except ConnectionError as broken:
            self._replace(connection, broken)
            return
        if reply is not None:
            self._answered(connection, reply)

    def _answered(self, connection: Connection, reply: Reply) -> None:
        now = time.monotonic() - self._began_s
        connection.busy = False
        self.statuses[str(reply.status)] += 1
        if reply.status == 200:
            self.accepted += self._batch
            PROGRESS.pack_into(self._progress, 0, self.accepted)
            self.latencies_us.append(int((now - connection.due_s) * 1e6))
            self.last_answer_s = now
        elif reply.status == 503:
            heapq.heappush(self._again, (now + RETRY_S, connection.due_s, connection.number))
        else:
            raise SystemExit(f"answered {reply.status}: {reply.body[:500]!r}")
        if reply.closes:
            self._reconnect(connection)
        else:
            self._idle.append(connection)

    def _replace(self, connection: Connection, broken: ConnectionError) -> None:
        """The connection broke. Under a request it is unknown whether that was accepted, so it is
        sent again; a server may close an idle one at any time."""
        if connection.busy:
            now = time.monotonic() - self._began_s
            self.statuses[type(broken).__name__] += 1
            heapq.heappush(self._again, (now + RETRY_S, connection.due_s, connection.number))
        else:
            self._idle.remove(connection)
        self._reconnect(connection)

    def _reconnect(self, connection: Connection) -> None:
        self._poll.unregister(connection.socket)
        del self._by_fd[connection.socket.fileno()]
        connection.socket.close()
        self._connect(connection.address)

    def _connect(self, address: tuple[str, int]) -> None:
        connection = Connection(address)
        self._by_fd[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, _READ)
        self._idle.append(connection)


def _schedule(order: dict[str, float | None]) -> Schedule:
    per_s, seconds, count = order["per_s"], order["seconds"], order["count"]
    if per_s is None:
        return ClosedLoop(seconds, None if count is None else int(count))
    assert seconds is not None, "an open loop has an end"
    return OpenLoop(per_s, round(per_s * seconds))


def main() -> None:
    """Entry."""
    order = json.loads(sys.stdin.readline())
    addresses = [(str(host), int(port)) for host, port in order["addresses"]]
    bodies = Bodies(
        Shape(**order["shape"]), host=addresses[0][0], token=order["token"], path=order["path"]
    )
    path = Path(order["progress"])
    with path.open("r+b") as file, mmap.mmap(file.fileno(), PROGRESS.size) as shared:
        progress = memoryview(shared)
        generator = Generator(bodies, _schedule(order), addresses, order["connections"], progress)
        print("ready", flush=True)
        sys.stdin.readline()
        cpu_s, began_s = time.process_time(), time.monotonic()
        generator.run()
        cpu_s = time.process_time() - cpu_s
        progress.release()
    result = {
        "began_s": began_s,  # of the machine's monotonic clock, which all processes share
        "last_answer_s": began_s + generator.last_answer_s,
        "requests": generator.requests,
        "events": generator.accepted,
        "unique": bodies.unique(generator.requests),
        "amount": bodies.amount(generator.requests),
        "event_bytes": bodies.event_bytes,
        "statuses": dict(generator.statuses),
        "cpu_s": cpu_s,
        "latencies_us": generator.latencies_us,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
