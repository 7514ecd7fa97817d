"""What an SQLite error means for whoever asked for the write."""

import apsw

from tom.errors import StorageFull, StorageUnavailable

_FAILED_SYNC = {apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC}
_LOST = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.ProtocolError, apsw.ConnectionClosedError)
_EVERYBODYS = (*_LOST, apsw.BusyError, apsw.CorruptError, apsw.NotADBError)


def is_failed_sync(error: Exception) -> bool:
    """Whether the disk failed to take what it had been given: nothing written before can be trusted any more."""
    return isinstance(error, apsw.Error) and getattr(error, "extendedresult", 0) in _FAILED_SYNC


def is_lost(error: Exception) -> bool:
    """Whether opening the file anew may help."""
    return isinstance(error, _LOST)


def is_everybodys(error: Exception) -> bool:
    """Whether the file, and not one faulty write, is to blame."""
    return isinstance(error, _EVERYBODYS)


def explained(error: Exception, name: str) -> Exception:
    """The error of Tom's tree that stands for a failure of the file ``name``; any other error as it is."""
    if isinstance(error, apsw.FullError):
        return StorageFull()
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StorageUnavailable(f"{name} is damaged; restore a backup.", reason=type(error).__name__)
    if is_everybodys(error):
        return StorageUnavailable(reason=type(error).__name__)
    return error
