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
  engine_debootstrap "$dir/base" || { rm -rf --one-file-system "$dir/base"; return 1; }
  tar -C "$dir/base" --exclude='./var/cache/apt/*.bin' --exclude='./var/cache/apt/archives/*.deb' \
    --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
    --exclude='./usr/share/locale/*' -c . |
    docker import - "$own_image" >/dev/null || return 1
  rm -rf --one-file-system "$dir/base"
  echo "$own_image"
}

# A minimal Debian 12 in $1. It installs from the same mirrors and through the same proxy as this
# machine. Names of hosts come from the machine's apt configuration only.
engine_debootstrap() {
  local base=$1 mirror sources proxies include=()
  if ((EUID != 0)); then
    engine_say "debootstrap needs root: provide $1 in another way, for instance 'docker load'"
    return 1
  fi
  # shellcheck disable=SC2016  # the $(...) are apt's own
  local format='$(ORIGIN) $(CODENAME) $(REPO_URI) $(COMPONENT)'
  sources=$(apt-get indextargets --format "$format" 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 ~ /^bookworm(-updates|-security)?$/ {print "deb", $3, $2, $4}' |
    sort -u)
  mirror=$(awk '$3 == "bookworm" && $4 == "main" {print $2; exit}' <<<"$sources")
  if [[ -z $mirror ]]; then
    engine_say "this machine's apt names no mirror of Debian 12 main." \
      "Run 'apt-get update' and look at /etc/apt/sources.list*"
    return 1
  fi
  proxies=$(apt-config dump |
    grep -E '^Acquire::(https?::.*[Pp]roxy|Check-Valid-Until|Check-Date|Retries)' || true)
  if [[ -z ${http_proxy:-} ]]; then
    local proxy
    proxy=$(sed -nE 's/^Acquire::http::[Pp]roxy "([^"]+)";/\1/p' <<<"$proxies")
    [[ -n $proxy && $proxy != DIRECT ]] && local -x http_proxy=$proxy
  fi
  [[ $sources == *https:* ]] && include=(--include=ca-certificates)
  rm -rf --one-file-system "$base"
  mkdir -p "$base"
  if ! debootstrap --variant=minbase "${include[@]}" bookworm "$base" "$mirror" \
    >"$base.log" 2>&1; then
    tail -5 "$base.log" >&2
    return 1
  fi
  echo "$sources" >"$base/etc/apt/sources.list"
  echo "$proxies" >"$base/etc/apt/apt.conf.d/90-as-on-the-host"
  if [[ $sources == *https:* && -f /etc/ssl/certs/ca-certificates.crt ]]; then
    cp /etc/ssl/certs/ca-certificates.crt "$base/etc/ssl/certs/"
  fi
}
