"""What is installed where this runs -> a list of parts (SBOM) in CycloneDX's form: `python images/sbom.py NAME >FILE`.

The Dockerfiles run it while an image is built: it uses nothing but Python's own library.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

DPKG = Path("/var/lib/dpkg/status")
Json = dict[str, Any]


def sbom(name: str) -> Json:
    """The list of parts of the image `name`: Python packages of this interpreter, and the system's of Debian."""
    parts = sorted([*_python_packages(), *_debian_packages()], key=lambda part: part["purl"])
    own = [part for part in parts if part["name"] == name]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": own[0]["version"] if own else ""}},
        "components": parts,
    }


def _python_packages() -> Iterator[Json]:
    for each in distributions():
        name, version = each.metadata["Name"].lower().replace("_", "-"), each.version
        part: Json = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
        if "License-Expression" in each.metadata:
            part["licenses"] = [{"expression": each.metadata["License-Expression"]}]
        yield part


def _debian_packages() -> Iterator[Json]:
    if not DPKG.exists():
        return
    for paragraph in DPKG.read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") == "install ok installed":
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}"
            yield {"type": "library", "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    json.dump(sbom(sys.argv[1]), sys.stdout, indent=1)
