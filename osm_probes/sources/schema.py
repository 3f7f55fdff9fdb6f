"""What all Kubernetes objects are made of here, and the checked texts in them."""

from typing import Annotated

from msgspec import Meta, Struct, field


class Address(str):
    """An IP address in its canonical form."""

    __slots__ = ()


class ClusterAddress(str):
    """A Service's clusterIP: an IP address, "None" (headless) or "" (not given yet)."""

    __slots__ = ()


class Pattern(str):
    """A regular expression that Envoy takes (RE2); it is held against the whole of a text."""

    __slots__ = ()


class Validity(float):
    """How long certificates are valid, in seconds, from 5 on; written as Go does: 24h, 1h30m."""

    __slots__ = ()


Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]


class Part(Struct, frozen=True, rename="camel"):
    """What all parts of objects have in common: camelCase names; unknown fields are ignored."""


class Metadata(Part, frozen=True):
    """Names, labels and annotations."""

    name: Name
    namespace: Label = "default"
    uid: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Object(Part, frozen=True):
    """What all objects have in common."""

    metadata: Metadata
