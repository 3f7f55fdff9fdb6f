"""A control plane's pod -> what its probes answer, through the API server."""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec

from osm_probes.cli.objects import Pod
from osm_probes.cli.pod_http import ask_pod
from osm_probes.health.verdict import Verdict
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import ForbiddenError, KubernetesError

PROBES: Final = ("alive", "ready")


def in_sum(verdicts: Iterable[bool | None]) -> bool | None:
    """No if one says no; None where nobody said no, and not all could be asked."""
    said = set(verdicts)
    return False if False in said else None if None in said else True


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one probe said. No verdict: it did not respond, or it could not be asked, and why."""

    probe: str
    verdict: Verdict | None = None
    no_response: str = ""
    not_asked: str = ""

    @property
    def healthy(self) -> bool | None:
        """Yes, no, or None where nobody knows."""
        if self.not_asked:
            return None
        return self.verdict is not None and self.verdict.healthy


class PodProbes(msgspec.Struct, frozen=True):
    """What the probes of one pod said."""

    namespace: str
    pod: str
    app: str
    probes: tuple[ProbeAnswer, ...]

    @property
    def healthy(self) -> bool | None:
        """The sum of its probes."""
        return in_sum(answer.healthy for answer in self.probes)


async def probed(client: KubernetesClient, pod: Pod) -> PodProbes:
    """Ask both probes of a pod at once; nothing is raised."""
    answers = await asyncio.gather(*(_answer(client, pod, probe) for probe in PROBES))
    metadata = pod.metadata
    return PodProbes(metadata.namespace, metadata.name, metadata.labels.get("app", ""), tuple(answers))


async def _answer(client: KubernetesClient, pod: Pod, probe: str) -> ProbeAnswer:
    try:
        answer = await ask_pod(client, pod, f"/health/{probe}")
    except ForbiddenError as error:
        return ProbeAnswer(probe=probe, not_asked=error.needing("get pods/proxy"))
    except KubernetesError as error:
        return ProbeAnswer(probe=probe, no_response=str(error))
    try:
        return ProbeAnswer(probe=probe, verdict=msgspec.json.decode(answer.content, type=Verdict))
    except msgspec.DecodeError:
        # A control plane that speaks no JSON about itself.
        return ProbeAnswer(probe=probe, verdict=Verdict(probe, answer.status == HTTPStatus.OK))
