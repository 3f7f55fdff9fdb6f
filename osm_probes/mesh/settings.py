"""The settings in the MeshConfig, with the defaults of Open Service Mesh."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The supported fields of MeshConfig v1alpha2.

    log_level: of the control plane; "" leaves it to the flag. max_data_plane_connections: 0 leaves the limit to the
    flag. certificate_validity: in seconds.
    """

    permissive: bool = True
    egress: bool = False
    log_level: str = ""
    max_data_plane_connections: int = 0
    certificate_validity: float = 24 * 3600.0
    sidecar_log_level: str = "error"
