"""The error tree.

HemaBenchError                  everything that is raised on purpose
├── InvalidSettings             a setting is out of range or contradicts another
├── DataUnavailable             images were asked for that are not here and could not be fetched
├── DataCorrupt                 a data file is here and is not what it should be
├── WeightsMismatch             weights do not fit the architecture they are loaded into
├── ArtifactUnavailable         no exported model where one was asked for
├── ManifestInvalid             a manifest cannot be read or contradicts itself
│   └── DigestMismatch          a file is not, byte for byte, what its manifest says
├── ExportFailed                a framework could not write an artifact
├── ParityError                 an artifact's logits differ from the reference
├── AccuracyLost                a quantised network recognises too few of the images that its original recognises
├── RuntimeUnavailable          the packages of a runtime or framework are not installed
├── DeviceUnavailable           the device that was asked for is not there
├── ServiceFailed               a service did not start, or died
├── ProcessFailed               a step in a process of its own died without a word
├── RecordsCorrupt              recorded measurements cannot be read
├── NoRoom                      a disk has too little room left for what is to be written
├── RunInvalid                  a run cannot be compared, resumed or reported
├── RequestRefused              a request over HTTP was answered with an error
└── InvalidImage                bytes are not an image that we classify; carries an HTTP status

A message says what, where, and what to do next. Only ``cli.py`` prints one and exits.
"""

from __future__ import annotations

import errno


class HemaBenchError(Exception):
    """Everything that HemaBench raises on purpose."""


class InvalidSettings(HemaBenchError):
    """A setting is out of range or contradicts another."""


class DataUnavailable(HemaBenchError):
    """Images were asked for that are not here and could not be fetched."""


class DataCorrupt(HemaBenchError):
    """A data file is here and is not what it should be."""


class WeightsMismatch(HemaBenchError):
    """Weights do not fit the architecture they are loaded into."""


class ArtifactUnavailable(HemaBenchError):
    """There is no exported model where one was asked for."""


class ManifestInvalid(HemaBenchError):
    """A manifest cannot be read or contradicts itself."""


class DigestMismatch(ManifestInvalid):
    """A file is not, byte for byte, what its manifest says."""


class ExportFailed(HemaBenchError):
    """A framework could not write an artifact."""


class ParityError(HemaBenchError):
    """An artifact's logits differ from the reference."""


class AccuracyLost(HemaBenchError):
    """A quantised network recognises too few of the images that its original recognises."""


class RuntimeUnavailable(HemaBenchError):
    """The packages of a runtime or framework are not installed."""


class DeviceUnavailable(HemaBenchError):
    """The device that was asked for is not there."""


class ServiceFailed(HemaBenchError):
    """A service did not start, or died."""


class ProcessFailed(HemaBenchError):
    """A step in a process of its own died without a word."""


class RecordsCorrupt(HemaBenchError):
    """Recorded measurements cannot be read."""


class NoRoom(HemaBenchError):
    """A disk has too little room left for what is to be written."""


class RunInvalid(HemaBenchError):
    """A run cannot be compared, resumed or reported."""


class RequestRefused(HemaBenchError):
    """A request over HTTP was answered with an error.

    ``code`` is the service's stable word for the reason, ``status`` the HTTP status and
    ``request_id`` what its log has it under; empty where the answer did not say.
    """

    def __init__(self, message: str, *, code: str = "", status: int = 0, request_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.request_id = request_id


class InvalidImage(HemaBenchError):
    """Bytes are not an image that we classify.

    ``code`` is the stable word that a client may branch on, ``status`` the HTTP
    status of the answer. The message never holds file names or image bytes.
    """

    def __init__(self, message: str, *, code: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


# What to do where the system refused; the text of the others says it.
_ADVICE = {
    errno.ENOSPC: "free some space there, or name another folder with the command's options",
    errno.EDQUOT: "free some space there, or name another folder with the command's options",
    errno.EROFS: "name a folder that can be written with the command's options",
    errno.EACCES: "change its owner or mode, or name another place with the command's options",
    errno.EPERM: "change its owner or mode, or name another place with the command's options",
    errno.ENOENT: "name a place that exists with the command's options",
    errno.ENOTDIR: "name a folder with the command's options",
    errno.EISDIR: "name a file with the command's options",
    errno.EADDRINUSE: "choose another port",
    errno.EMFILE: "raise the limit of open files: ulimit -n 4096",
}


def why_not(error: OSError) -> str:
    """What the system refused, in one line: the file where there is one, the reason, and what to do next."""
    what = error.strerror or str(error)
    places = [str(place) for place in (error.filename, error.filename2) if place is not None]
    advice = _ADVICE.get(error.errno or 0)
    return ": ".join([*places[:1], what[:1].lower() + what[1:]]) + (f". Next: {advice}" if advice else "")
