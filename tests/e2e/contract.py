"""The gRPC contract as Python modules, made from proto/ when the tests start.

python3-grpcio and protoc are enough.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"


def _arenad_modules(out):
    protos = sorted(map(str, (PROTO / "arenad").rglob("*.proto")))
    subprocess.run(
        [
            "protoc",
            f"-I{PROTO}",
            f"--python_out={out}",
            f"--grpc_out={out}",
            f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}",
            *protos,
        ],
        check=True,
    )
    sys.path.insert(0, out)
    try:
        from arenad.v1 import (
            admin_pb2,
            admin_pb2_grpc,
            arenas_pb2,
            arenas_pb2_grpc,
            blocks_pb2,
            blocks_pb2_grpc,
            common_pb2,
            sessions_pb2,
            sessions_pb2_grpc,
        )
    finally:
        sys.path.remove(out)
    return (
        admin_pb2,
        admin_pb2_grpc,
        arenas_pb2,
        arenas_pb2_grpc,
        blocks_pb2,
        blocks_pb2_grpc,
        common_pb2,
        sessions_pb2,
        sessions_pb2_grpc,
    )


def _standard_messages(out):
    """Message classes of proto/grpc and proto/google by full name.

    Generated modules would hide Python's own grpc package.
    """
    protos = sorted(
        str(p) for folder in ("grpc", "google") for p in (PROTO / folder).rglob("*.proto")
    )
    subprocess.run(
        [
            "protoc",
            f"-I{PROTO}",
            "--include_imports",
            f"--descriptor_set_out={out}/standard",
            *protos,
        ],
        check=True,
    )
    files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out, "standard").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.MessageFactory(pool).GetMessages([file.name for file in files.file])


_out = tempfile.mkdtemp(prefix="arenad-proto-")
try:
    (
        admin,
        admin_grpc,
        arenas,
        arenas_grpc,
        blocks,
        blocks_grpc,
        common,
        sessions,
        sessions_grpc,
    ) = _arenad_modules(_out)
    _standard = _standard_messages(_out)
finally:
    shutil.rmtree(_out)

Status = _standard["google.rpc.Status"]
ErrorInfo = _standard["google.rpc.ErrorInfo"]
HealthRequest = _standard["grpc.health.v1.HealthCheckRequest"]
HealthResponse = _standard["grpc.health.v1.HealthCheckResponse"]
ReflectionRequest = _standard["grpc.reflection.v1alpha.ServerReflectionRequest"]
ReflectionResponse = _standard["grpc.reflection.v1alpha.ServerReflectionResponse"]
