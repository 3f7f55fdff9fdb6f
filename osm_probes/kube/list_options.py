"""What is watched: a kind, where, and which of its objects."""

from dataclasses import dataclass

from osm_probes.kube.kind import Kind


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Objects of a kind, in one namespace or everywhere, picked by the API server; `metadata` = nothing else."""

    kind: Kind
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    metadata: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the API has them, or else may have them."""
        return tuple(kind.path(namespace=self.namespace) for kind in self.kind.versions)

    @property
    def query(self) -> dict[str, str]:
        """The selectors."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: value for name, value in selectors.items() if value}

    def accept(self, form: str) -> str:
        """The form of an answer: `PartialObjectMetadata` or its List, where nothing but metadata is wanted."""
        return f"application/json;as={form};g=meta.k8s.io;v=v1" if self.metadata else "application/json"

    @property
    def permission(self) -> str:
        """What its user must be allowed, for a person who grants it."""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f'list and watch {self.kind.plural} of API group "{self.kind.group}"{where}'
