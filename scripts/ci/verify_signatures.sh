#!/usr/bin/env bash
# Each image, given by digest, is signed by this repository's own image workflow on main (keyless: by its identity).
#   verify_signatures.sh ghcr.io/owner/enclosure-catalog-cpu@sha256:… …
set -euo pipefail
: "${GITHUB_REPOSITORY:?owner/name, as GitHub sets it}"

[[ $# -gt 0 ]] || { echo "no image is given" >&2; exit 2; }
for image in "$@"; do
  [[ "${image}" == *@sha256:* ]] || { echo "${image} is no address by digest" >&2; exit 2; }
  cosign verify \
    --certificate-oidc-issuer https://token.actions.githubusercontent.com \
    --certificate-identity "https://github.com/${GITHUB_REPOSITORY}/.github/workflows/images.yaml@refs/heads/main" \
    "${image}" >/dev/null
  echo "${image} is signed"
done
