#!/usr/bin/env bash
# Starts deploy.yaml with the images of this commit: those that were built (a folder with their digests), else main's.
#   start_deployment.sh built
set -euo pipefail
: "${REGISTRY:?as ghcr.io/owner}" "${GITHUB_SHA:?as GitHub sets it}"

images="$("${PYTHON:-.tools/check/bin/python}" -m scripts.ci.release_images --registry "${REGISTRY}" --built "$1")"
echo "${images}"
gh workflow run deploy.yaml --ref main --field "images=${images}" --field "revision=${GITHUB_SHA}"
