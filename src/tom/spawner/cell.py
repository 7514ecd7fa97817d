"""What a forked child does before the agent's own code runs: the steps that make it a cell.

In this order, before any byte of a user is read: a session of its own, no descriptor but the listed, no core dumps, not
readable by debuggers, no new privileges, limits on open files; it ends with its parent. A step that fails ends the
child with status 78: an agent never runs with less than all of them.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from tom.telemetry import logs

DOCUMENT_DESCRIPTOR = 3
LISTEN_DESCRIPTOR = 4
OPEN_FILES = 4096
HELD_BACK = (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP)
"""Signals that wait while a child is forked, until it has its own answers to them."""
STATUS_FAILED = 70
STATUS_NO_CELL = 78

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38
_FIRST_FREE = 10
_LAST_DESCRIPTOR = 2**31 - 2
_libc = ctypes.CDLL(None, use_errno=True)


def enter(user: str, entry: str, listener: int, document: int, parent: int) -> NoReturn:
    """Become the agent of ``user``: take the steps, run ``entry`` (``module:function``), exit with what it returns.

    ``parent`` is the pid of the zygote. Only for a process that has just been forked; it does not return.
    """
    status = STATUS_NO_CELL
    try:
        _wall_off(listener, document, parent)
        status = STATUS_FAILED
        status = _resolve(entry)(LISTEN_DESCRIPTOR, DOCUMENT_DESCRIPTOR, user)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else STATUS_FAILED
    except BaseException:  # noqa: BLE001 - whatever it was, this process must not run on as a second zygote
        traceback.print_exc()
    finally:
        _say_last_words()
        os._exit(status & 0xFF)


def _say_last_words() -> None:
    with contextlib.suppress(Exception):
        logs.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()


def _resolve(entry: str) -> Callable[[int, int, str], int]:
    module, _, function = entry.partition(":")
    return getattr(importlib.import_module(module), function)


def _wall_off(listener: int, document: int, parent: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in HELD_BACK:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    os.setsid()
    _keep_only(listener, document)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise ProcessLookupError("the zygote ended while it forked this agent")
    _control(_PR_SET_DUMPABLE, 0)
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    _libc.prctl(_PR_SET_NAME, b"tom-agent", 0, 0, 0)
    _limit_open_files()
    gc.enable()


def _keep_only(listener: int, document: int) -> None:
    high = [_above(descriptor) for descriptor in (document, listener)]
    os.dup2(high[0], DOCUMENT_DESCRIPTOR, inheritable=False)
    os.dup2(high[1], LISTEN_DESCRIPTOR, inheritable=False)
    os.closerange(LISTEN_DESCRIPTOR + 1, _LAST_DESCRIPTOR)


def _above(descriptor: int) -> int:
    """A copy that stands in nobody's way when 3 and 4 are filled."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)


def _limit_open_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _control(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl {option}: {os.strerror(error)}")
