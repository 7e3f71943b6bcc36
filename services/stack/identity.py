"""As whom PostgreSQL runs. It refuses to run as root, so for root we find another identity.

Tried in this order: a user namespace of its own in which root is an ordinary user (nothing on the
machine changes: no account is made, no file changes hands), else an existing system account.
Makes no account and opens no directory to read.
"""

import ctypes
import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.stack.errors import StackError
from services.stack.process import libc

_CLONE_NEWUSER = 0x10000000
# Any ordinary id: files of the real user appear under it inside the namespace.
_ID_INSIDE = 1000
# Existing accounts that own nothing of value, best first.
_ACCOUNTS = ("postgres", "nobody", "daemon")
# Others may pass through, not look: the account must reach its folder below.
_PASS_THROUGH = 0o711
_PROBE_WAIT_S_MAX = 20


@dataclass(frozen=True, slots=True)
class Identity:
    """How a child becomes someone else, and who owns the files it works on."""

    description: str
    become: Callable[[], None] | None
    uid: int
    gid: int

    def take_over(self, directory: Path) -> None:
        """Give it the directory with all that is in it, if it is another's."""
        if os.geteuid() != 0 or directory.stat().st_uid == self.uid:
            return
        for folder, _, names in os.walk(directory):
            os.chown(folder, self.uid, self.gid)
            for name in names:
                os.chown(Path(folder) / name, self.uid, self.gid, follow_symlinks=False)


def enter_user_namespace() -> None:
    """In a child of root: be an ordinary user of a new namespace. Imports nothing (bytes, not
    text: a codec might have to be loaded), because a fork may hold the import lock."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    # setgroups must be given up before a process without privilege may map its group.
    Path("/proc/self/setgroups").write_bytes(b"deny")
    Path("/proc/self/uid_map").write_bytes(b"%d %d 1" % (_ID_INSIDE, uid))
    Path("/proc/self/gid_map").write_bytes(b"%d %d 1" % (_ID_INSIDE, gid))


def find_identity(executable: Path) -> Identity:
    """The identity for a server that refuses root; `executable` is one of its programs."""
    if os.geteuid() != 0:
        return Identity("the same user", None, os.geteuid(), os.getegid())
    namespaced = Identity("a user namespace", enter_user_namespace, 0, os.getegid())
    if _can_run(executable, namespaced):
        return namespaced
    return system_account(executable)


def system_account(executable: Path) -> Identity:
    """An existing account that can run the executable; raises StackError when there is none."""
    for name in _ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        identity = _account_identity(account)
        if _can_run(executable, identity):
            return identity
    raise StackError(
        "PostgreSQL refuses to run as root, user namespaces are refused on this machine, and none"
        f" of the accounts {', '.join(_ACCOUNTS)} can run {executable}. Run Tollgate as an"
        " ordinary user, install it where others can read it, or set DATABASE_URL to a PostgreSQL"
        " that is running."
    )


def _account_identity(account: pwd.struct_passwd) -> Identity:
    def become() -> None:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    return Identity(f"the account {account.pw_name}", become, account.pw_uid, account.pw_gid)


def _can_run(executable: Path, identity: Identity) -> bool:
    try:
        ran = subprocess.run(
            [executable, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_WAIT_S_MAX,
            check=False,
            cwd="/",
            env={},
            preexec_fn=identity.become,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return ran.returncode == 0


def let_through(identity: Identity, directory: Path, stop_at: Path) -> None:
    """Let an account reach `directory`: what is ours (up to `stop_at`) is opened to pass through,
    for the rest there is only an explanation."""
    if os.geteuid() != 0 or identity.uid == 0:
        return
    for folder in directory.parents:
        if folder.is_relative_to(stop_at):
            folder.chmod(_PASS_THROUGH)
        elif not folder.stat().st_mode & 0o001:
            raise StackError(
                f"PostgreSQL refuses to run as root, so it runs as {identity.description}, which"
                f" may not enter {folder}. Put the data elsewhere with --data-dir (below"
                " /var/lib, say), or run Tollgate as an ordinary user."
            )
