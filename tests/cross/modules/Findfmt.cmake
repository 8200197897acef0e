# fmt for a cross build: headers only.
include(${CMAKE_CURRENT_LIST_DIR}/host_headers.cmake)
arenad_host_headers(fmt::fmt-header-only fmt/core.h)
target_compile_definitions(fmt::fmt-header-only INTERFACE FMT_HEADER_ONLY=1)
set(fmt_FOUND TRUE)
