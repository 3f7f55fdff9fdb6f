"""Base classes of Kubernetes objects as they are decoded here, and the validated types of their fields."""

from functools import cached_property
from typing import Annotated

from msgspec import Meta, Struct, field

from osm_probes.sources.regex import Program, compile_regex


class Address(str):
    """An IP address in its canonical form."""

    __slots__ = ()


class ClusterAddress(str):
    """A Service's clusterIP: an IP address, "None" (headless) or "" (not assigned yet)."""

    __slots__ = ()


class Pattern(str):
    """A regular expression, which must match a whole text. It is compiled when it is first asked about.

    So RE2 runs in the thread that builds the mesh, once for an expression, and never on the event loop.
    """

    @cached_property
    def program(self) -> Program:
        """What RE2 makes of it."""
        return compile_regex(self)


class Validity(float):
    """The validity of certificates in seconds, at least 5. It is written as a Go duration: 24h, 1h30m."""

    __slots__ = ()


Label = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
ObjectKey = tuple[str, str]
"""Namespace and name of an object."""


class ApiStruct(Struct, frozen=True, rename="camel"):
    """The base of all JSON structures of the API: camelCase names; unknown fields are ignored."""


class Metadata(ApiStruct, frozen=True):
    """The metadata of an object: names, labels and annotations."""

    name: Name
    namespace: Label = "default"
    uid: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class ApiObject(ApiStruct, frozen=True):
    """The base of all objects."""

    metadata: Metadata
