"""The gRPC contract as Python modules, made from proto/ when the tests start.

Only python3-grpcio, python3-protobuf and protoc are needed. What Debian ships no Python module for (server reflection and
google.rpc.Status) is described here in a few lines, as its public definition says.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _generate():
    out = tempfile.mkdtemp(prefix="arenad-proto-")
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    try:
        subprocess.run(
            ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={out}", f"--grpc_out={out}",
             f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}", *map(str, protos)], check=True)
        sys.path.insert(0, out)
        from arenad.v1 import (admin_pb2, admin_pb2_grpc, arenas_pb2, arenas_pb2_grpc, blocks_pb2, blocks_pb2_grpc,
                               common_pb2, sessions_pb2, sessions_pb2_grpc)
        return (admin_pb2, admin_pb2_grpc, arenas_pb2, arenas_pb2_grpc, blocks_pb2, blocks_pb2_grpc, common_pb2,
                sessions_pb2, sessions_pb2_grpc)
    finally:
        sys.path.remove(out)
        shutil.rmtree(out)


(admin, admin_grpc, arenas, arenas_grpc, blocks, blocks_grpc, common, sessions, sessions_grpc) = _generate()

_FIELD = descriptor_pb2.FieldDescriptorProto


def _messages(package, messages):
    """Message classes from {name: [(field, number, type or message name, repeated)]}."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.tests.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                entry.type, entry.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                entry.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return [factory.GetPrototype(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages]


_S, _B, _I = _FIELD.TYPE_STRING, _FIELD.TYPE_BYTES, _FIELD.TYPE_INT32

ServiceName, ServiceList, ReflectionRequest, ReflectionResponse = _messages("grpc.reflection.v1alpha", {
    "ServiceResponse": [("name", 1, _S, False)],
    "ListServiceResponse": [("service", 1, "ServiceResponse", True)],
    "ServerReflectionRequest": [("file_containing_symbol", 4, _S, False), ("list_services", 7, _S, False)],
    "ServerReflectionResponse": [("list_services_response", 6, "ListServiceResponse", False)],
})

_Entry, ErrorInfo, _Any, Status = _messages("google.rpc", {
    "Entry": [("key", 1, _S, False), ("value", 2, _S, False)],
    "ErrorInfo": [("reason", 1, _S, False), ("domain", 2, _S, False), ("metadata", 3, "Entry", True)],
    "Any": [("type_url", 1, _S, False), ("value", 2, _B, False)],
    "Status": [("code", 1, _I, False), ("message", 2, _S, False), ("details", 3, "Any", True)],
})

# Health has one field each way that the tests need: its request is empty, its answer is 1 when serving.
(HealthResponse,) = _messages("grpc.health.v1", {"HealthCheckResponse": [("status", 1, _I, False)]})
HEALTH_SERVING = 1
