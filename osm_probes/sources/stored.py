"""One object's JSON, as the Kubernetes API has it -> the typed object; the same types as for files."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from osm_probes.sources.decode import ManifestError, convert, decode_part
from osm_probes.sources.manifest import without_nulls
from osm_probes.sources.objects import MeshObject

T = TypeVar("T", bound=MeshObject)


def decoder_of(kind: type[T]) -> Callable[[bytes], T | None]:
    """What reads objects of this kind: pruned while they are parsed. It raises ManifestError, naming the field.

    None: an object that does not matter here.
    """
    quick = msgspec.json.Decoder(kind, dec_hook=decode_part)

    def decode(content: bytes) -> T | None:
        try:
            return quick.decode(content)
        except msgspec.ValidationError:
            # A null somewhere, which is rare, or something wrong: both want a second look.
            return _decoded_slowly(content, kind)
        except msgspec.DecodeError as error:
            raise ManifestError(f"no JSON: {error}") from error

    return decode


def _decoded_slowly(content: bytes, kind: type[T]) -> T | None:
    document = without_nulls(msgspec.json.decode(content))
    if not isinstance(document, dict):
        raise ManifestError("no object")
    if document.get("addressType") == "FQDN":
        return None
    return convert(document, kind)
