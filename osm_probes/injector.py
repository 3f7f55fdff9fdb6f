"""osm-injector: the entry; signals and flags first, then the probes' port, then all that is heavy."""

import os
import sys

from osm_probes.foundation.signals import StopSignals


def main() -> None:
    """Run until SIGTERM; the process ends with the status that `osm-injector --help` tells."""
    signals = StopSignals()
    signals.install()
    from osm_probes.configuration.injector import parse_injector
    from osm_probes.health.briefing import INJECTOR
    from osm_probes.program.frame import Frame, run_program

    configuration = parse_injector(sys.argv[1:], os.environ)

    async def serve(frame: Frame) -> None:
        from osm_probes.program.injection import serve_injection

        await serve_injection(configuration, frame)

    run_program("osm-injector", shared=configuration.shared, briefing=INJECTOR, signals=signals, serve=serve)
