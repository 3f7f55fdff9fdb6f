"""Which objects a list or a watch returns: kind, namespace and selectors."""

from dataclasses import dataclass, replace

from osm_probes.kube.kind import Kind


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Selects objects of a kind, in one namespace or in all (""), by label and field selectors.

    metadata: request the objects' metadata only, as PartialObjectMetadata.
    """

    kind: Kind
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    metadata: bool = False

    @property
    def path(self) -> str:
        """The API path of the list."""
        return self.kind.path(namespace=self.namespace)

    @property
    def versions(self) -> "tuple[ListOptions, ...]":
        """The same selection in each acceptable version of the kind, the preferred one first."""
        return tuple(replace(self, kind=kind) for kind in self.kind.versions)

    @property
    def query(self) -> dict[str, str]:
        """The selectors as query parameters."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in selectors.items() if value}

    @property
    def list_type(self) -> str:
        """The media type to accept for a list."""
        return self._media_type("PartialObjectMetadataList")

    @property
    def watch_type(self) -> str:
        """The media type to accept for a watch."""
        return self._media_type("PartialObjectMetadata")

    def _media_type(self, metadata_kind: str) -> str:
        return f"application/json;as={metadata_kind};g=meta.k8s.io;v=v1" if self.metadata else "application/json"

    @property
    def permission(self) -> str:
        """The permission that an informer needs, in words for the person who grants it."""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f'list and watch {self.kind.plural} of API group "{self.kind.group}"{where}'
