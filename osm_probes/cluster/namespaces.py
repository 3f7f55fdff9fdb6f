"""A namespace's name -> what it says about injection; where it would let a pod in bare, by the API server's word."""

from collections.abc import Mapping

import msgspec

from osm_probes.admission.namespaces import KnownNamespaces, MeshUnknownError, NamespaceFacts
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.kube.kind import NAMESPACES
from osm_probes.mesh.source import MeshSource


class _Metadata(msgspec.Struct):
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class _Namespace(msgspec.Struct):
    metadata: _Metadata


class AskedNamespaces(KnownNamespaces):
    """The same, and the API server has the last word, within so many seconds: what is known may be a moment old.

    Without its answer there is none, also about a namespace that is known: the pod is refused and comes again, whereas
    one that was let in bare would stay so.
    """

    def __init__(self, source: MeshSource, client: KubernetesClient, *, within: float) -> None:
        super().__init__(source)
        self._client = client.bounded(within)

    async def newest(self, name: str) -> NamespaceFacts | None:
        """The namespace; None if there is none. Raises MeshUnknownError."""
        try:
            content = await self._client.read(NAMESPACES, name)
            metadata = msgspec.json.decode(content, type=_Namespace).metadata
        except NotFoundError:
            return None
        except (KubernetesError, msgspec.DecodeError) as error:
            raise MeshUnknownError(f"whether namespace {name} wants sidecars cannot be known: {error}") from error
        return NamespaceFacts(metadata.labels, metadata.annotations)
