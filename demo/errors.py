"""What the demo says when it cannot go on."""

from osm_probes.foundation.errors import OsmError


class DemoError(OsmError):
    """The demo cannot go on; the message is one line for a person."""
