"""The folder that stores the certificate authority (CA) of a control plane without Kubernetes."""

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
    """The CA folder cannot be used. Nothing in it was changed."""


def load_or_create_authority(folder: Path, *, common_name: str) -> Authority:
    """The CA stored in `folder`; an empty folder gets a new one. Safe when several processes call it at once.

    Files have mode 0600 and are written atomically. Existing files are never overwritten: if one of the two is
    missing, or the CA is expired or does not match its key, AuthorityFolderError is raised.
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
    """The CA stored in `folder`. Raises AuthorityFolderError."""
    root_pem, key_pem = (_read(folder, name) for name in (ROOT_FILE, KEY_FILE))
    try:
        return Authority.load(root_pem, key_pem)
    except InvalidAuthorityError as error:
        raise AuthorityFolderError(
            f"--ca-dir {legible(folder)}: {error}; nothing was overwritten: "
            f"restore the matching pair, or use an empty folder to create a new CA"
        ) from error


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise AuthorityFolderError(
            f"--ca-dir {legible(folder)}: {name}: {error.strerror or error}; "
            f"restore {ROOT_FILE} and {KEY_FILE}, or use an empty folder to create a new CA"
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
    # The key first: if the process crashes in between, the next start reports the lone key and does not replace it.
    for name, content in ((KEY_FILE, authority.key_pem), (ROOT_FILE, authority.root_pem)):
        temporary = folder / f".{name}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / name)
