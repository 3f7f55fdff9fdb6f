"""The installed xds-protos -> type stubs for Envoy's API: `python tools/protostubs.py FOLDER`.

The wheel xds-protos has no type stubs. Its modules contain their protobuf descriptors, which are all that
protoc-gen-mypy needs, so this runs it without protoc.
"""

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor import FileDescriptor

PLUGIN = Path(sys.executable).with_name("protoc-gen-mypy")
TYPED_ALREADY = "google/protobuf/"  # by types-protobuf


def described_files() -> Iterator[FileDescriptor]:
    """The descriptor of every module of Envoy's API in xds-protos."""
    for path in files("xds-protos") or ():
        if path.parts[0] == "envoy" and path.name.endswith("_pb2.py"):
            yield importlib.import_module(".".join(path.with_suffix("").parts)).DESCRIPTOR


def request_for(roots: Iterator[FileDescriptor]) -> CodeGeneratorRequest:
    """The request that protoc would send to its plugin: each file once, after the files that it imports."""
    request = CodeGeneratorRequest()
    seen: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        file.CopyToProto(request.proto_file.add())
        if not file.name.startswith(TYPED_ALREADY):
            request.file_to_generate.append(file.name)

    for root in roots:
        add(root)
    return request


def generated(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """The plugin's response. If the plugin fails, its error output ends this program."""
    plugin = subprocess.run([PLUGIN], input=request.SerializeToString(), capture_output=True, check=False)
    response = CodeGeneratorResponse.FromString(plugin.stdout)
    if plugin.returncode or response.error:
        sys.exit(response.error or plugin.stderr.decode())
    return response


def write(response: CodeGeneratorResponse, folder: Path) -> None:
    """Replace the folder's contents with the generated files."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in response.file:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)


if __name__ == "__main__":
    write(generated(request_for(described_files())), Path(sys.argv[1]))
