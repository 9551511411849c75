"""Become an unprivileged user, tie the life of the program to its parent, run it: launcher.py IDENTITY PARENT PROGRAM ARGUMENTS…

It is a program of its own, in the standard library only, because what it does to its process must happen between fork and
exec, where a process with threads cannot safely run Python. IDENTITY is "self", "namespace" or "UID:GID".
"""

import ctypes
import os
import signal
import sys

NAMESPACE_REFUSED = 121
NOT_RUNNABLE = 126

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would double the time this program takes to start
        file.write(text)


def _enter_namespace() -> None:
    """Go on as user 1000 of a new user namespace: the files stay root's, the program does not see root."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"1000 {uid} 1")
    _write("/proc/self/gid_map", f"1000 {gid} 1")


def _become(identity: str) -> None:
    uid, gid = identity.split(":")
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))


def _end_with(parent: int) -> None:
    """Have the kernel ask the program for a fast shutdown when its parent is gone, however the parent ended."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        sys.exit("the parent ended before the program began")


def main(identity: str, parent: str, *command: str) -> None:
    """Run the command in place of this process; leave with NAMESPACE_REFUSED or NOT_RUNNABLE when that cannot be."""
    if identity == "namespace":
        try:
            _enter_namespace()
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(NAMESPACE_REFUSED)
    elif identity != "self":
        _become(identity)
    if sys.platform == "linux":
        _end_with(int(parent))  # after the identity: the kernel forgets the wish when a process changes its user
    try:
        os.execv(command[0], command)  # noqa: S606 - a fixed program, no shell wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(NOT_RUNNABLE)


if __name__ == "__main__":
    main(*sys.argv[1:])
