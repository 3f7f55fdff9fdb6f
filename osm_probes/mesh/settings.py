"""Vocabulary: what the MeshConfig says, with upstream's defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The fields of MeshConfig v1alpha2 that are honoured. Durations in seconds; 0 connections = no limit set here.

    log_level: of the control plane; "" = as its flag says.
    """

    permissive: bool = True
    egress: bool = False
    log_level: str = ""
    max_data_plane_connections: int = 0
    certificate_validity: float = 24 * 3600.0
    sidecar_log_level: str = "error"
