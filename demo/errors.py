"""The demo's error."""

from osm_probes.foundation.errors import OsmError


class DemoError(OsmError):
    """The demo cannot continue; the message is one line for a person."""
