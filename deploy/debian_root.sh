# shellcheck shell=bash
# A minimal Debian 12 for tests; source this file.
#
# debian_root_tar FILE   Leaves a minimal Debian 12 in the tar file FILE. Where FILE exists already,
#                        nothing is done. Needs root and debootstrap.
#
# The Debian installs from the same mirrors and through the same proxy as this machine. Names of
# hosts come from the machine's apt configuration only.

debian_root_say() { echo "debian_root: $*" >&2; }

debian_root_tar() {
  local file=$1 folder=$1.folder
  [[ -s $file ]] && return 0
  mkdir -p "$(dirname "$file")"
  if ! debian_root_make "$folder"; then
    rm -rf --one-file-system "$folder"
    return 1
  fi
  tar -C "$folder" --exclude='./var/cache/apt/*.bin' --exclude='./var/cache/apt/archives/*.deb' \
    --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
    --exclude='./usr/share/locale/*' -cf "$file.part" . && mv "$file.part" "$file"
  local done=$?
  rm -rf --one-file-system "$folder"
  return "$done"
}

debian_root_make() {
  local base=$1 mirror sources proxies include=()
  if ((EUID != 0)); then
    debian_root_say "debootstrap needs root"
    return 1
  fi
  # shellcheck disable=SC2016  # the $(...) are apt's own
  local format='$(ORIGIN) $(CODENAME) $(REPO_URI) $(COMPONENT)'
  sources=$(apt-get indextargets --format "$format" 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 ~ /^bookworm(-updates|-security)?$/ {print "deb", $3, $2, $4}' |
    sort -u)
  mirror=$(awk '$3 == "bookworm" && $4 == "main" {print $2; exit}' <<<"$sources")
  if [[ -z $mirror ]]; then
    debian_root_say "this machine's apt names no mirror of Debian 12 main." \
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
