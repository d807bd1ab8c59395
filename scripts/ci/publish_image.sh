#!/usr/bin/env bash
# Signs an image that was pushed by digest (keyless, as the workflow that runs this), calls it main, notes the digest.
#   publish_image.sh ghcr.io/owner/enclosure-catalog-cpu@sha256:… built/cpu
set -euo pipefail
image="$1" note="$2"
[[ "${image}" == *@sha256:* ]] || { echo "${image} is no address by digest" >&2; exit 2; }

cosign sign --yes "${image}"
docker buildx imagetools create --tag "${image%@*}:main" "${image}"
mkdir -p "$(dirname "${note}")"
echo "${image#*@}" >"${note}"
