# shellcheck shell=bash
# What several scripts of the tree share. To be sourced.

# Prints the comment at the top of script $1: its usage.
show_usage() { sed -n '2,/^set /{s/^# \{0,1\}//;/^set /!p}' "$1"; }

# How many compilers may run at a time: one per core, and fewer where memory is short. A source that
# includes gRPC takes up to 1.5 GB.
compile_jobs() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(awk '/^MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  ((by_memory < 1)) && by_memory=1
  echo $((by_memory < cores ? by_memory : cores))
}

# Paths inside compiler results become relative, so build folders and clones share results. The
# results are kept where ccache keeps them for this user.
share_compiler_results() { export CCACHE_BASEDIR=$1 CCACHE_NOHASHDIR=1; }
