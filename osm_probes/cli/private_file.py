"""Files that are their owner's alone: keys, logs."""

import os
from pathlib import Path

from osm_probes.foundation.errors import OsmError


class OutputError(OsmError):
    """The file cannot be written."""


def write_private(file: Path, content: bytes) -> None:
    """Write a new file in the place of an older one, readable by its owner alone. Raises OutputError."""
    try:
        # An older file keeps its mode, so it makes room for a new one.
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
    except OSError as error:
        raise OutputError(f"--output {file}: {error.strerror or error}") from error
