"""tests/chart/build -> Helm 3 for tests: `python -m tools.helm3` says where. (Helm 4 comes as a wheel.)

Built once from the pinned Go modules into the user's cache; OSM_HELM3 names another one to use instead.
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
    lacking="no Go to build Helm 3 with: install it, or set OSM_HELM3",
    takes="2 to 6 minutes",
)


def helm3() -> Path:
    """Where Helm 3 is; it is built if need be, which takes 2 to 6 minutes on two cores. Raises NoProgramError."""
    if given := os.environ.get("OSM_HELM3"):
        if not os.access(given, os.X_OK):
            raise NoProgramError(f"OSM_HELM3={given} is not a program")
        return Path(given)
    return _HELM.built() / "helm"


if __name__ == "__main__":
    try:
        print(helm3())
    except NoProgramError as error:
        sys.exit(str(error))
