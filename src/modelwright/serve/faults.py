"""What is wrong with a body that is no JSON, told so that it can be mended."""

from __future__ import annotations

import re

from modelwright.serve.messages import ProtocolError

_AT_BYTE = re.compile(r"byte (\d+)\)?$")
_TOKEN = re.compile(rb"[-+]?(NaN|Infinity|None|True|False|undefined)\b")


def not_json(body: bytes, error: Exception) -> ProtocolError:
    """The 400 for a body that msgspec could not decode.

    JSON has no NaN and no Infinity, but Python's `json.dumps` and JavaScript write them: they, and
    Python's None, True and False, are named together with what to send instead.

    Args:
        body: as it came.
        error: what the decoder raised.

    Example:
        >>> import msgspec
        >>> try:
        ...     msgspec.json.decode(b'[NaN]')
        ... except msgspec.DecodeError as error:
        ...     not_json(b'[NaN]', error).message.partition("; ")[2]
        'JSON has no NaN: send null for a missing number.'
    """
    place = _AT_BYTE.search(str(error))
    at = int(place[1]) if place else -1
    found = _TOKEN.match(body, at - (body[at - 1 : at] in (b"-", b"+"))) if at >= 0 else None
    if place is None or found is None:
        return ProtocolError(400, f"The body is not JSON: {error}.")
    word = found[0].decode()
    return ProtocolError(
        400, f"The body is not JSON: it has {word} at byte {found.start()}; {_instead(word)}."
    )


def _instead(word: str) -> str:
    bare = word.lstrip("+-")
    if bare == "NaN":
        return "JSON has no NaN: send null for a missing number"
    if bare == "Infinity":
        return "JSON has no infinity: send null, or the largest number that is meant"
    wanted = {"None": "null", "undefined": "null", "True": "true", "False": "false"}[bare]
    return f"in JSON that is {wanted}"
