"""The errors a person is meant to read: one line that says what was wrong, the rule and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_LISTED = 20


class FedpersError(Exception):
    """Any failure that fedpers can explain; the command line prints it as one line."""

    exit_status = 1


class InputError(FedpersError):
    """A setting, file or row that cannot be used as it is (exit status 2)."""

    exit_status = 2


class DeviceError(FedpersError):
    """A device failed while it trained or predicted; the message carries its round and partition."""


class WriteError(FedpersError):
    """The disk is full, or takes no more for another reason; the message names the file and says why."""


class StoppedError(FedpersError):
    """Somebody ended the run by SIGTERM; the message says how to go on."""

    exit_status = 143


class CtrlCError(StoppedError):
    """Somebody ended the run by Ctrl-C before its score was there; the message says how to go on."""

    exit_status = 130


def unknown(kind: str, given: object, valid: Iterable[str]) -> InputError:
    """Returns the error for a name that is not among the valid ones, with the nearest of them.

    >>> str(unknown("strategy", "fedadm", ["fedavg", "fedadam"]))
    "unknown strategy 'fedadm': did you mean 'fedadam'? (valid: fedadam, fedavg)"
    """
    names = sorted(valid)
    near = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    more = f", and {len(names) - _MOST_LISTED:,} more" if len(names) > _MOST_LISTED else ""
    return InputError(f"unknown {kind} {given!r}: {hint}(valid: {', '.join(names[:_MOST_LISTED])}{more})")
