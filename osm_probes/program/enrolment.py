"""A namespace's name -> what it says about injection; where the mesh does not know it, by the API server's word."""

from collections.abc import Mapping
from typing import Final

import msgspec

from osm_probes.admission.eligible import NamespaceFacts
from osm_probes.admission.sample import SAMPLE_NAMESPACE
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import AbsentError, KubernetesError
from osm_probes.kube.kind import NAMESPACES
from osm_probes.program.means import KnownNamespaces, MeshUnknownError
from osm_probes.program.world import MeshSource

_ASKED_WITHIN: Final = 5.0


class _Metadata(msgspec.Struct):
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class _Namespace(msgspec.Struct):
    metadata: _Metadata


class AskedNamespaces(KnownNamespaces):
    """The same, and the API server has the last word on one that is not known: it may be enrolled a moment ago."""

    def __init__(self, source: MeshSource, client: KubernetesClient) -> None:
        super().__init__(source)
        self._client = client.bounded(_ASKED_WITHIN)

    async def namespace(self, name: str) -> NamespaceFacts | None:
        """The namespace; None if there is none. Raises MeshUnknownError."""
        known = await super().namespace(name)
        if known is not None or name == SAMPLE_NAMESPACE:
            return known
        try:
            content = await self._client.read(NAMESPACES, name)
        except AbsentError:
            return None
        except KubernetesError as error:
            raise MeshUnknownError(f"whether namespace {name} belongs to the mesh cannot be known: {error}") from error
        metadata = msgspec.json.decode(content, type=_Namespace).metadata
        return NamespaceFacts(metadata.labels, metadata.annotations)
