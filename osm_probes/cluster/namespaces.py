"""A namespace's name -> its labels and annotations, read from the API server where a stale answer would be harmful."""

from collections.abc import Mapping

import msgspec

from osm_probes.admission.namespaces import MeshNamespaces, NamespaceLookupError
from osm_probes.kube.client import KubernetesClient
from osm_probes.kube.errors import KubernetesError, NotFoundError
from osm_probes.kube.kind import NAMESPACES
from osm_probes.mesh.mesh import NamespaceMetadata
from osm_probes.mesh.source import MeshSource


class _Metadata(msgspec.Struct):
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class _Namespace(msgspec.Struct):
    metadata: _Metadata


class ApiServerNamespaces(MeshNamespaces):
    """Namespaces of the mesh, which may be slightly outdated; `get_current` asks the API server, in `within` seconds.

    If the API server does not respond, `get_current` fails even for a known namespace. The pod is rejected then and
    created again by its controller; a pod that was admitted without a sidecar would stay without one.
    """

    def __init__(self, source: MeshSource, client: KubernetesClient, *, within: float) -> None:
        super().__init__(source)
        self._client = client.with_timeout(within)

    async def get_current(self, name: str) -> NamespaceMetadata | None:
        """The namespace as it is now; None if it does not exist. Raises NamespaceLookupError."""
        try:
            content = await self._client.read(NAMESPACES, name)
            metadata = msgspec.json.decode(content, type=_Namespace).metadata
        except NotFoundError:
            return None
        except (KubernetesError, msgspec.DecodeError) as error:
            raise NamespaceLookupError(f"whether namespace {name} wants sidecars is unknown: {error}") from error
        return NamespaceMetadata(metadata.labels, metadata.annotations)
