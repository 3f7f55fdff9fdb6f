"""What is asked of a port inside of a pod: a page, or whether its certificate is trusted."""

import http.client
import io
import ssl
from typing import Final

from osm_probes.kube.client import Answer, KubernetesClient
from osm_probes.kube.errors import UnreachableError
from osm_probes.kube.portforward import Forward, PodPort, forwarded

_LIMIT: Final = 64 << 20


async def get_inside(client: KubernetesClient, to: PodPort, path: str, *, within: float = 15.0) -> Answer:
    """What the port answers to a GET, in so many seconds. Raises KubernetesError."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with forwarded(client, to, within=within) as forward:
        await forward.send(request.encode())
        content = await _all(forward)
    try:
        answer = http.client.HTTPResponse(_Received(content))  # type: ignore[arg-type]  # makefile is all it uses
        answer.begin()
        return Answer(answer.status, answer.read())
    except http.client.HTTPException as error:
        raise UnreachableError(f"{to} does not answer in HTTP: {type(error).__name__}") from error


async def distrust(client: KubernetesClient, to: PodPort, *, name: str, roots_pem: str, within: float) -> str:
    """Why who trusts these roots does not trust the port's certificate for this name; "" if he does.

    Raises KubernetesError where the port shows none, ValueError where the roots cannot be read.
    """
    try:
        context = ssl.create_default_context(cadata=roots_pem)
    except ssl.SSLError as error:
        raise ValueError(f"roots cannot be read: {error.reason}") from error
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname=name)
    async with forwarded(client, to, within=within) as forward:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await forward.send(sent.read())
                if not (content := await forward.receive()):
                    raise UnreachableError("it ended the TLS handshake") from None
                received.write(content)
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                raise UnreachableError(f"no TLS: {error.reason}") from error
            else:
                return ""


async def _all(forward: Forward) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < _LIMIT and (content := await forward.receive()):
        parts.append(content)
        size += len(content)
    return b"".join(parts)


class _Received:
    """Bytes in the place of a socket, as http.client reads one."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._content)
