// A program that links the client library. usage: client SOCKET_DIR ARENA
#include "exchange_blocks.h"

int main(int argc, char** argv) { return argc == 3 ? exchange_blocks(argv[1], argv[2]) : 2; }
