"""What the READMEs of proto/ say is true: their commands work, their tables agree with the code."""
import pathlib
import re
import shutil
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
HANDOFF = (PROTO / "handoff/README.md").read_text()
# The types of frames.h and their sizes in bytes.
SIZES = {"std::uint32_t": 4, "std::uint64_t": 8, "std::array<char, 8>": 8,
         "std::array<std::uint8_t, kTokenBytes>": 16, "std::array<std::uint8_t, 16>": 16}


def test_commands_of_the_readme_make_python_modules(tmp_path):
    shutil.copytree(PROTO, tmp_path / "proto")
    blocks = re.findall(r"```sh\n(.*?)```", (PROTO / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", blocks[0]], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done


def test_every_proto_file_is_in_the_readme_and_in_cmake():
    readme, cmake = (PROTO / "README.md").read_text(), (PROTO / "CMakeLists.txt").read_text()
    for file in PROTO.rglob("*.proto"):
        assert str(file.relative_to(PROTO)) in cmake, file
        folder = file.parent.relative_to(PROTO).parts
        assert file.name in readme or folder[:2] == ("grpc", "reflection"), file


def rows(title):
    """(offset, bytes, field) of the table under a heading of the handoff page."""
    section = HANDOFF.split(f"## {title}", 1)[1].split("\n## ", 1)[0]
    return [(int(offset), int(size), field)
            for offset, size, field
            in re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \|", section, re.M)]


@pytest.mark.parametrize("title, name", [("Request", "Request"), ("Reply", "Reply")])
def test_frame_is_described_as_it_is_defined(title, name):
    header = (PROTO / "handoff/frames.h").read_text()
    body = re.search(rf"struct {name} {{\n(.*?)\n}};", header, re.DOTALL)[1]
    offset, defined = 0, []
    field_line = r"^  (std::array<[^>]+>|std::\w+) (\w+)(?: = [^;]+|\{\})?;"
    for kind, field in re.findall(field_line, body, re.M):
        defined.append((offset, SIZES[kind], field))
        offset += SIZES[kind]
    assert defined == rows(title)
    assert f"sizeof({name}) == {offset}" in header


@pytest.mark.parametrize("constant, title", [("HANDOFF_REQUEST", "Request"),
                                             ("HANDOFF_ANSWER", "Reply")])
def test_python_example_has_the_frames_of_the_readme(constant, title):
    example = (ROOT / "client/examples/python_roundtrip.py").read_text()
    layout = re.search(rf'^{constant} = struct.Struct\("(<\w+)"\)', example, re.M)[1]
    sizes = [struct.calcsize("<" + part) for part in re.findall(r"\d*s|[A-Z]", layout)]
    assert sizes == [size for _, size, _ in rows(title)]
