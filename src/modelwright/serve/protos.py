"""Protobuf messages described as data, so that no compiler and no generated code is needed.

A field is written '<number> [repeated | map] <type> <name> [oneof <group>]'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelwright.core.errors import MissingExtra

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError
except ModuleNotFoundError as error:
    raise MissingExtra("protobuf", "grpc") from error

__all__ = ["DecodeError", "file_of", "messages_of", "new_pool"]
Described = Mapping[str, tuple[str, ...]]
"""Message -> its fields; a message within another one has a dot in its name, and comes after it."""
_TYPES = {
    name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "string", "int32", "int64", "uint32", "uint64", "float", "double", "bytes")
}


def file_of(
    name: str,
    package: str,
    described: Described,
    *,
    enums: Described | None = None,
    services: Described | None = None,
) -> descriptor_pb2.FileDescriptorProto:
    """A .proto file.

    Args:
        enums: those within messages -> their names from 0 on; a field's type is then enum:<path>.
        services: name -> '<method> <request> <response>' each, with `stream` before a type of
            which there are many.
    """
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in described.items():
        outer, _, inner = path.rpartition(".")
        holder = made[outer].nested_type if outer else file.message_type
        message = made[path] = holder.add(name=inner)
        for words in fields:
            _add_field(message, f".{package}", path, words.split())
    for path, names in (enums or {}).items():
        outer, _, inner = path.rpartition(".")
        enum = made[outer].enum_type.add(name=inner)
        for number, value in enumerate(names):
            enum.value.add(name=value, number=number)
    for service, methods in (services or {}).items():
        added = file.service.add(name=service)
        for text in methods:
            _add_method(added, f".{package}", text.split())
    return file


def messages_of(pool: Any, package: str, names: Iterable[str]) -> dict[str, Any]:
    """Name -> class of the messages in a pool."""
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in names
    }


def new_pool(*files: descriptor_pb2.FileDescriptorProto) -> Any:
    """A pool of its own, because the default pool refuses a second definition of a message.

    Example:
        >>> pool = new_pool(file_of("a.proto", "shop", {"Item": ("1 string name",)}))
        >>> Item = messages_of(pool, "shop", ["Item"])["Item"]
        >>> Item.FromString(Item(name="pen").SerializeToString()).name
        'pen'
    """
    pool: Any = descriptor_pool.DescriptorPool()  # some releases have no types
    for file in files:
        pool.Add(file)
    return pool


def _add_method(service: Any, package: str, words: list[str]) -> None:
    name, *rest = words
    method = service.method.add(name=name)
    method.client_streaming = rest[0] == "stream"
    method.server_streaming = rest[-2] == "stream"
    given, answered = (word for word in rest if word != "stream")
    method.input_type, method.output_type = f"{package}.{given}", f"{package}.{answered}"


def _add_field(message: Any, package: str, path: str, words: list[str]) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    group = ""
    if words[-2] == "oneof":
        words, group = words[:-2], words[-1]
    number, *rest = words
    kind, name = rest[-2:]
    field = message.field.add(name=name, number=int(number), label=proto.LABEL_OPTIONAL)
    if rest[0] in ("repeated", "map"):
        field.label = proto.LABEL_REPEATED
    if rest[0] == "map":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, package, "", ["1", "string", "key"])
        _add_field(entry, package, "", ["2", kind, "value"])
        kind = f"{path}.ParametersEntry"
    if group:
        if group not in [oneof.name for oneof in message.oneof_decl]:
            message.oneof_decl.add(name=group)
        field.oneof_index = [oneof.name for oneof in message.oneof_decl].index(group)
    if kind in _TYPES:
        field.type = _TYPES[kind]
    elif kind.startswith("enum:"):
        field.type, field.type_name = proto.TYPE_ENUM, f"{package}.{kind[5:]}"
    else:
        field.type, field.type_name = proto.TYPE_MESSAGE, f"{package}.{kind}"
