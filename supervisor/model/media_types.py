"""The extensions of results, by the media types of answers."""

import mimetypes
import re

from supervisor.model.first_bytes import EXTENSIONS

UNKNOWN_SUFFIX = ".bin"
# With a letter: run.0001, run.0002, … are the user's files, and nobody's results.
_SUFFIX = re.compile(r"\.(?=[^a-z]*[a-z])[a-z0-9_+-]{1,16}")


def suffix_for(media_type: str) -> str:
    """The extension of a result of this media type, as results are named."""
    return known_suffix(media_type) or UNKNOWN_SUFFIX


def known_suffix(media_type: str) -> str | None:
    """The same; None where nobody knows the type. What Python guesses differs between releases."""
    suffix = EXTENSIONS.get(plain(media_type)) or mimetypes.guess_extension(plain(media_type))
    return suffix if suffix and is_suffix(suffix) else None


def suffixes_for(media_type: str) -> tuple[str, ...]:
    """All extensions that a result of this media type may have: an answer that is a file keeps its own."""
    every = (suffix_for(media_type), *mimetypes.guess_all_extensions(plain(media_type)))
    return tuple(filter(is_suffix, dict.fromkeys(every)))


def is_suffix(suffix: str) -> bool:
    """Whether a result may have this extension, which is looked for by it."""
    return _SUFFIX.fullmatch(suffix) is not None


def plain(media_type: str) -> str:
    """Without parameters."""
    return media_type.partition(";")[0].strip().lower()
