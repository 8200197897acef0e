# shellcheck shell=bash
# A Docker engine for tests; source this file. It is the engine that answers, or a new one that ends
# with the test.
#
# engine_use DIR   Leaves DOCKER_HOST pointing at an engine that answers. Where none answers,
#                  installs docker.io and starts dockerd as root. The data lie under DIR/data and
#                  stay, as the layer cache of the next run. Socket and run-time files lie in a
#                  temporary directory.
# engine_stop      Stops what engine_use started, and nothing else. Safe to call at any time.
# engine_base DIR  Prints the name of the base image: debian:bookworm-slim, or an image made with
#                  debootstrap from the machine's own Debian mirror where no registry is reachable.

# shellcheck source=deploy/debian_root.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/debian_root.sh"

engine_pid=
engine_run=
engine_mounted=

engine_say() { echo "test_image: $*" >&2; }

engine_answers() { timeout 10 docker info >/dev/null 2>&1; }

engine_use() {
  local dir=$1 driver
  if command -v docker >/dev/null && engine_answers; then
    engine_say "using the Docker engine that answers at ${DOCKER_HOST:-its default socket}"
    return 0
  fi
  "$(dirname "${BASH_SOURCE[0]}")/../deploy/install_packages" image || return 1
  if engine_answers; then  # installing the package may have started it
    engine_say "using the Docker engine that was just installed"
    return 0
  fi
  if ((EUID != 0)); then
    engine_say "no Docker engine answers, and starting one needs root." \
      "Start Docker, or run this as root"
    return 1
  fi
  engine_mount_cgroups || return 1
  mkdir -p "$dir/data"
  engine_run=$(mktemp -d "${TMPDIR:-/tmp}/arenad-engine.XXXXXX")
  for driver in overlay2 vfs; do
    if engine_start "$dir/data" "$driver"; then
      engine_say "started dockerd with the $driver driver, data in $dir/data"
      return 0
    fi
    engine_say "dockerd does not run with the $driver driver:" \
      "$(grep -E 'level=(fatal|error)|^failed' "$engine_run/dockerd.log" | tail -1)"
  done
  tail -20 "$engine_run/dockerd.log" >&2
  return 1
}

# Containers need a cgroup file system; machines without systemd may have none mounted.
engine_mount_cgroups() {
  if grep -qE ' cgroup2? ' /proc/self/mounts; then return 0; fi
  if ! mount -t cgroup2 cgroup2 /sys/fs/cgroup; then
    engine_say "cannot mount a cgroup file system at /sys/fs/cgroup"
    return 1
  fi
  engine_mounted=/sys/fs/cgroup
}

# Everything that could meet another engine of the machine is apart: sockets, pid file and data.
# There is no bridge and there are no firewall rules.
engine_start() {
  local data=$1 driver=$2
  export DOCKER_HOST=unix://$engine_run/docker.sock
  setsid dockerd --host "$DOCKER_HOST" --data-root "$data" --exec-root "$engine_run/exec" \
    --pidfile "$engine_run/docker.pid" --storage-driver "$driver" \
    --iptables=false --ip6tables=false --bridge=none >"$engine_run/dockerd.log" 2>&1 &
  engine_pid=$!
  local until=$((SECONDS + 60))
  while kill -0 "$engine_pid" 2>/dev/null && ((SECONDS < until)); do
    engine_answers && return 0
    sleep 0.2
  done
  engine_end_process
  return 1
}

engine_end_process() {
  [[ -n $engine_pid ]] || return 0
  kill -TERM "$engine_pid" 2>/dev/null || true
  local until=$((SECONDS + 30))
  while kill -0 "$engine_pid" 2>/dev/null && ((SECONDS < until)); do sleep 0.1; done
  kill -KILL "$engine_pid" 2>/dev/null || true
  wait "$engine_pid" 2>/dev/null || true
  engine_pid=
}

engine_stop() {
  engine_end_process
  if [[ -n $engine_run ]]; then
    local mounted
    # Network namespaces of builds.
    while read -r mounted; do umount -l "$mounted" || true; done \
      < <(awk -v under="$engine_run/" 'index($2, under) == 1 {print $2}' /proc/self/mounts)
    rm -rf --one-file-system "$engine_run"
    engine_run=
  fi
  if [[ -n $engine_mounted ]]; then
    umount -l "$engine_mounted" || true
    engine_mounted=
  fi
}

engine_base() {
  local dir=$1 registry_image=debian:bookworm-slim own_image=arenad-base:bookworm image
  for image in "$registry_image" "$own_image"; do
    if docker image inspect "$image" >/dev/null 2>&1; then echo "$image"; return 0; fi
  done
  if timeout 120 docker pull -q "$registry_image" >/dev/null 2>&1; then
    echo "$registry_image"
    return 0
  fi
  engine_say "$registry_image cannot be pulled; making a base image with debootstrap"
  "$(dirname "${BASH_SOURCE[0]}")/../deploy/install_packages" image >&2 || return 1
  debian_root_tar "$dir/../debian/base.tar" || return 1
  docker import - "$own_image" <"$dir/../debian/base.tar" >/dev/null || return 1
  echo "$own_image"
}
