"""What a program includes with arenad/arenad.h, and which names it gets.

The compiler answers: it lists the files that a header includes, and it refuses a name that means
two things.
"""
import os
import pathlib
import re
import subprocess

import pytest

from daemon import BIN

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "client/include"
BUILT = BIN.parent / "include"  # the allocator's headers under arenad/, as a link
HEADERS = sorted(path.name for path in (INCLUDE / "arenad").glob("*.h"))

# All that the public headers may include from the allocator: values, counters, and the inline part
# of a heap. Never the arena, the whole heap, or the server.
ALLOCATOR_HEADERS = {
    "allocator/base/crash_point.h",
    "allocator/base/error.h",
    "allocator/base/export.h",
    "allocator/format/block_word.h",
    "allocator/format/debug_flags.h",
    "allocator/format/geometry.h",
    "allocator/format/ids.h",
    "allocator/format/ref_layout.h",
    "allocator/heap/allocation.h",
    "allocator/heap/counters.h",
    "allocator/heap/fast_heap.h",
    "allocator/heap/magazine.h",
}


def compiler(*words, source):
    """Runs the compiler on a source text, with the directories that a user of the library has."""
    command = [os.environ.get("TESTED_CXX", "g++"), "-std=c++20", f"-I{INCLUDE}", f"-I{BUILT}",
               *words, "-x", "c++", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


def dependencies(header):
    """The files that a header includes: paths in the project, or absolute paths."""
    done = compiler("-M", source=f'#include "arenad/{header}"\n')
    assert done.returncode == 0, done.stderr
    files = done.stdout.replace("\\\n", " ").split()[1:]
    paths = [pathlib.Path(os.path.realpath(name)) for name in files if name != "-"]
    return {str(p.relative_to(ROOT) if p.is_relative_to(ROOT) else p) for p in paths}


def names_in(header):
    """Types and aliases that a public header defines in arenad::client."""
    text = (INCLUDE / "arenad" / header).read_text(encoding="utf-8")
    text = text[text.find("namespace arenad::client {"):]
    attributes = r"(?:\[\[\w+\]\]\s+|alignas\(\d+\)\s+|ARENAD_API\s+)*"
    pattern = rf"^(?:struct|class|enum class|using)\s+{attributes}(\w+)\b(?!::)"
    return set(re.findall(pattern, text, flags=re.MULTILINE))


def test_the_library_includes_few_headers_of_the_allocator():
    included = {path for path in dependencies("arenad.h") if path.startswith("allocator/")}
    assert included == ALLOCATOR_HEADERS


def test_the_library_includes_nothing_private_and_no_grpc():
    for path in dependencies("arenad.h"):
        allowed = path.startswith(
            ("allocator/", "client/include/arenad/", "/usr/include/", "/usr/lib/"))
        assert allowed, path
        assert not re.search(r"grpc|google|absl|boost|fmt|spdlog", path), path


def test_a_program_gets_every_public_header_with_arenad_h():
    included = dependencies("arenad.h")
    assert {f"client/include/arenad/{header}" for header in HEADERS} <= included


@pytest.mark.parametrize("header", HEADERS)
def test_each_public_header_compiles_alone(header):
    done = compiler("-fsyntax-only", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror",
                    source=f'#include "arenad/{header}"\nint main() {{}}\n')
    assert done.returncode == 0, done.stderr


def test_no_public_name_is_another_type_of_arenad():
    names = set().union(*(names_in(header) for header in HEADERS))
    assert {"ArenaHandle", "Block", "BlockInfo", "HolderShare", "OffsetPtr"} <= names
    headers = sorted((ROOT / "allocator").rglob("*.h"))
    allocator = "\n".join(f'#include "{path.relative_to(ROOT)}"' for path in headers)
    uses = "\n".join(f"using both::{name};" for name in sorted(names))
    done = compiler("-fsyntax-only", f"-I{ROOT}", source=f"""
#include "arenad/arenad.h"
{allocator}
namespace both {{
using namespace arenad;
using namespace arenad::client;
}}
namespace user {{
{uses}
}}
int main() {{}}
""")
    assert done.returncode == 0, done.stderr


def test_users_find_ref_and_the_ids_in_the_clients_namespace():
    done = compiler("-fsyntax-only", source="""
#include "arenad/arenad.h"
using namespace arenad::client;
int main() {
  Ref ref; SessionId session; ArenaId arena; HeapId heap; ShardId shard; HeapCounters counters;
  return static_cast<int>(ref.value) + session.value + arena.value + heap.value + shard.value +
         static_cast<int>(counters.allocs) + (Error::kNone == Error::kForked) +
         *error_name(Error::kNone);
}
""")
    assert done.returncode == 0, done.stderr
