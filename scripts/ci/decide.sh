#!/usr/bin/env bash
# Outputs of the job that decides what to build, as lines for GITHUB_OUTPUT: the images as a JSON list, and the registry.
# BASE: the commit that a pull request goes into; else GITHUB_EVENT_NAME push: since main's images; else all.
set -euo pipefail
: "${GITHUB_REPOSITORY_OWNER:?as GitHub sets it}" "${GITHUB_EVENT_NAME:?as GitHub sets it}"

registry="ghcr.io/${GITHUB_REPOSITORY_OWNER,,}"
since=(--all)
[[ "${GITHUB_EVENT_NAME}" != push ]] || since=(--registry "${registry}")
[[ -z "${BASE:-}" ]] || since=(--base "${BASE}")
images="$("${PYTHON:-.tools/check/bin/python}" -m scripts.ci.changed_images "${since[@]}")"
echo "images=${images}"
echo "registry=${registry}"
