// ARENAD_API marks what programs outside arenad's libraries may call.
//
// Purpose: the libraries are compiled with hidden visibility. Only classes and functions with this
//   mark can be used from another shared object or program.
// Threads: nothing is run. Crash: nothing is shared.
#pragma once

#if __cplusplus < 202002L
#error "arenad needs C++20: compile with -std=c++20"
#endif

#define ARENAD_API [[gnu::visibility("default")]]
