"""Vocabulary: the certificate authority's folder on disk, for a control plane without Kubernetes."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.text import legible
from osm_probes.pki.authority import Authority, InvalidAuthorityError

ROOT_FILE: Final = "ca.crt"
KEY_FILE: Final = "private.key"


class AuthorityFolderError(OsmError):
    """The CA folder cannot be used; nothing in it was changed."""


def load_or_create_authority(folder: Path, *, common_name: str) -> Authority:
    """The authority kept in `folder`, made on the first call. Safe when several processes call at once.

    Files are 0600, written whole or not at all. What is there is never overwritten: half a pair, an expired or a
    mismatched one raises AuthorityFolderError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder):
            if not (folder / ROOT_FILE).exists() and not (folder / KEY_FILE).exists():
                _store(folder, Authority.create(common_name))
            return load_authority(folder)
    except OSError as error:
        raise AuthorityFolderError(f"--ca-dir {legible(folder)}: {error.strerror or error}") from error


def load_authority(folder: Path) -> Authority:
    """The authority kept in `folder`. Raises AuthorityFolderError."""
    pair = []
    for name in (ROOT_FILE, KEY_FILE):
        try:
            pair.append((folder / name).read_bytes())
        except OSError as error:
            raise AuthorityFolderError(
                f"--ca-dir {legible(folder)}: {name}: {error.strerror or error}; "
                f"put the pair {ROOT_FILE} and {KEY_FILE} back, or name an empty folder for a new authority"
            ) from error
    try:
        return Authority.load(pair[0], pair[1])
    except InvalidAuthorityError as error:
        raise AuthorityFolderError(
            f"--ca-dir {legible(folder)}: {error}; nothing was overwritten: "
            f"put the right pair back, or name an empty folder for a new authority"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _store(folder: Path, authority: Authority) -> None:
    # The key first: a crash between the two leaves a key alone, which the next start reports instead of replacing.
    for name, content in ((KEY_FILE, authority.key_pem), (ROOT_FILE, authority.root_pem)):
        temporary = folder / f".{name}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / name)
