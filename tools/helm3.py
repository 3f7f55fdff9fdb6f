"""tests/chart/build -> the path of Helm 3, for tests: `python -m tools.helm3`. (Helm 4 is installed as a wheel.)

Helm 3 is built once from pinned Go modules into the user's cache. Set OSM_HELM3 to use another binary.
"""

import os
import sys
from pathlib import Path
from typing import Final

from tools.go_programs import GoPrograms, NoProgramError

_HELM: Final = GoPrograms(
    "helm",
    Path(__file__).parents[1] / "tests" / "chart" / "build",
    {"helm": "helm.sh/helm/v3/cmd/helm"},
    module="helm.sh/helm/v3",
    stamps=lambda version: {"helm.sh/helm/v3/internal/version.version": version},
    lacking="building Helm 3 needs Go: install Go, or set OSM_HELM3",
    takes="2 to 6 minutes",
)


def helm3() -> Path:
    """The path of Helm 3. It is built if it is missing, which takes 2 to 6 minutes on two cores.

    Raises NoProgramError.
    """
    if override := os.environ.get("OSM_HELM3"):
        if not os.access(override, os.X_OK):
            raise NoProgramError(f"OSM_HELM3={override} is not an executable file")
        return Path(override)
    return _HELM.built() / "helm"


if __name__ == "__main__":
    try:
        print(helm3())
    except NoProgramError as error:
        sys.exit(str(error))
