// What the kernel says of huge pages in a mapping of this process.
//
// Threads: pure functions that read /proc. Crash: nothing is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace arenad::test {

// Reads a byte of every 4 KiB, so that the kernel maps all that is there.
void touch_all(std::span<const std::byte> mapped);

// Bytes of the range that are mapped as huge pages (ShmemPmdMapped and FilePmdMapped in smaps). The
// range is one mapping, or several whole ones.
std::uint64_t huge_mapped_bytes(std::span<const std::byte> mapped);

}  // namespace arenad::test
