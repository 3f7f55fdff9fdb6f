"""Annotations of namespaces and pods -> values. An invalid value is an error that names the annotation."""

from collections.abc import Mapping
from ipaddress import IPv6Network, ip_network
from typing import Final

from osm_probes.admission.pod import InjectionError
from osm_probes.foundation.text import excerpt

ITEM_LIMIT: Final = 500
"""The most ports or ranges in one annotation. The rules for them are one argument of a command: 128 KiB in Linux."""
_TEXT_LIMIT: Final = 64 * 1024

# Connections to these addresses use IPv4, so IPv6 rules have no effect on them.
_IPV4_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_ENABLED: Final = {"enabled": True, "yes": True, "true": True, "disabled": False, "no": False, "false": False}


class BadAnnotationError(InjectionError):
    """An annotation has an invalid value; the text names both."""


def parse_enabled(annotations: Mapping[str, str], key: str, *, of: str) -> bool | None:
    """An annotation that enables or disables something; None if it is not set or empty. Raises BadAnnotationError.

    of: the annotated object, for the error's text.
    """
    value = annotations.get(key, "")
    if not value:
        return None
    try:
        return _ENABLED[value.lower()]
    except KeyError:
        raise BadAnnotationError(
            f"annotation {key} of {of} is {excerpt(value)}: use enabled, yes or true, or disabled, no or false"
        ) from None


def parse_ports(annotations: Mapping[str, str], key: str) -> list[int]:
    """A comma-separated list of ports. Raises BadAnnotationError."""
    return [_parse_port(item, key) for item in _items(annotations, key)]


def parse_ip_ranges(annotations: Mapping[str, str], key: str) -> list[str]:
    """A comma-separated list of IPv4 and IPv6 ranges (CIDR). Raises BadAnnotationError."""
    return [_parse_ip_range(item, key) for item in _items(annotations, key)]


def _items(annotations: Mapping[str, str], key: str) -> list[str]:
    value = annotations.get(key)
    if value is None:
        return []
    if len(value) > _TEXT_LIMIT or value.count(",") >= ITEM_LIMIT:
        raise BadAnnotationError(
            f"annotation {key} has {value.count(',') + 1} items and {len(value)} characters: "
            f"use at most {ITEM_LIMIT} items and {_TEXT_LIMIT} characters"
        )
    return [item.strip() for item in value.split(",")]


def _parse_port(item: str, key: str) -> int:
    # isdecimal, because int() also accepts signs, spaces and underscores.
    if not (item.isascii() and item.isdecimal() and len(item) <= 5 and 0 < int(item) < 65536):
        raise BadAnnotationError(f"annotation {key} has {excerpt(item)}, which is not a port from 1 to 65535")
    return int(item)


def _parse_ip_range(item: str, key: str) -> str:
    try:
        network = ip_network(item, strict=False)
    except ValueError as error:
        raise BadAnnotationError(
            f"annotation {key} has {excerpt(item)}, which is not an IP range such as 10.0.0.0/8 or fd00::/8"
        ) from error
    # The result becomes part of a script that runs as root. Python copies the text after a percent sign unchecked.
    if "%" in item:
        raise BadAnnotationError(f"annotation {key} has {excerpt(item)}: an IP range cannot name an interface")
    if isinstance(network, IPv6Network) and network.subnet_of(_IPV4_MAPPED):
        raise BadAnnotationError(f"annotation {key} has {excerpt(item)}: write it as an IPv4 range")
    return str(network)
