"""A pod of a control plane -> the answers of its health probes, requested through the API server."""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec

from osm_probes.cli.api_client import get_from_pod
from osm_probes.cli.objects import Pod
from osm_probes.health.verdict import Verdict
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ForbiddenError, KubernetesError
from osm_probes.mesh.labels import APP
from osm_probes.mesh.ports import ALIVE_PATH, READY_PATH

_PATHS: Final = {"alive": ALIVE_PATH, "ready": READY_PATH}
PROBES: Final = tuple(_PATHS)


def combine_health(values: Iterable[bool | None]) -> bool | None:
    """False if any value is False; otherwise None (unknown) if any is None; otherwise True."""
    distinct = set(values)
    return False if False in distinct else None if None in distinct else True


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of one probe.

    Without a verdict, `no_response` says why the probe did not respond, or `not_asked` why no request could be sent.
    """

    probe: str
    verdict: Verdict | None = None
    no_response: str = ""
    not_asked: str = ""

    @property
    def healthy(self) -> bool | None:
        """Whether the probe succeeded; None if that is unknown."""
        if self.not_asked:
            return None
        return self.verdict is not None and self.verdict.healthy


class PodProbes(msgspec.Struct, frozen=True):
    """The answers of all probes of one pod."""

    namespace: str
    pod: str
    app: str
    probes: tuple[ProbeAnswer, ...]

    @property
    def healthy(self) -> bool | None:
        """Whether all probes succeeded; None if that is unknown."""
        return combine_health(answer.healthy for answer in self.probes)


async def query_probes(client: KubernetesClient, pod: Pod) -> PodProbes:
    """Query both probes of a pod at the same time. Errors become part of the answers."""
    answers = await asyncio.gather(*(_query_probe(client, pod, probe) for probe in PROBES))
    metadata = pod.metadata
    return PodProbes(metadata.namespace, metadata.name, metadata.labels.get(APP, ""), tuple(answers))


async def _query_probe(client: KubernetesClient, pod: Pod, probe: str) -> ProbeAnswer:
    try:
        response = await get_from_pod(client, pod, _PATHS[probe])
    except ForbiddenError as error:
        return ProbeAnswer(probe=probe, not_asked=error.explain("get pods/proxy"))
    except KubernetesError as error:
        return ProbeAnswer(probe=probe, no_response=str(error))
    try:
        return ProbeAnswer(probe=probe, verdict=msgspec.json.decode(response.content, type=Verdict))
    except msgspec.DecodeError:
        # Upstream's control planes answer in plain text, so only the HTTP status counts.
        return ProbeAnswer(probe=probe, verdict=Verdict(probe, response.status == HTTPStatus.OK))
