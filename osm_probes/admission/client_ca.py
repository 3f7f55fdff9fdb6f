"""A file with CA certificates -> whose reviews are answered: of clients with a certificate that one of them signed."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from osm_probes.foundation.errors import OsmError
from osm_probes.foundation.problem_log import ProblemLog

_CHECK_EVERY: Final = 10.0
_SIZE_LIMIT: Final = 1 << 20


class ClientCaError(OsmError):
    """The file cannot be read, or has no CA certificate; the text names it."""


def load_client_ca(file: Path) -> bytes:
    """The CA certificates of the file, in PEM. Raises ClientCaError."""
    try:
        with file.open("rb") as opened:
            pem = opened.read(_SIZE_LIMIT)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=pem.decode("ascii"))
    except ssl.SSLError as error:
        raise ClientCaError(f"--client-ca {file}: it has no CA certificate in PEM: {error.reason}") from error
    except OSError as error:
        raise ClientCaError(f"--client-ca {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise ClientCaError(f"--client-ca {file}: it has no CA certificate in PEM") from error
    if not context.get_ca_certs():
        raise ClientCaError(f"--client-ca {file}: none of its certificates is a CA's")
    return pem


async def follow_client_ca(file: Path, *, last: bytes, every: float = _CHECK_EVERY) -> AsyncIterator[bytes]:
    """The content of the file whenever it has changed since `last`. An invalid content is logged and left out."""
    problem = ProblemLog(
        "admission", began="the clients' CA cannot be read again", ended="the clients' CA can be read again"
    )
    while True:
        await asyncio.sleep(every)
        try:
            pem = load_client_ca(file)
        except ClientCaError as error:
            problem.update(str(error))
            continue
        problem.update("")
        if pem != last:
            last = pem
            yield pem
