#!/usr/bin/env bash
# The arguments of an image's build, as the output `arguments` for GITHUB_OUTPUT: the base image with the digest that its
# tag stands for now, and what the labels say.
#   build_arguments.sh k8s/images/cpu.Dockerfile
set -euo pipefail
: "${GITHUB_REF_NAME:?}" "${GITHUB_SHA:?}" "${GITHUB_SERVER_URL:?}" "${GITHUB_REPOSITORY:?}"

tag="$(sed -n 's/^ARG BASE_IMAGE=//p' "$1" | head -n 1)"
[[ -n "${tag}" ]] || { echo "$1 has no line ARG BASE_IMAGE=…" >&2; exit 1; }
digest="$(docker buildx imagetools inspect "${tag}" --format '{{.Manifest.Digest}}')"
[[ "${digest}" == sha256:* ]] || { echo "${tag} has no digest but ${digest}" >&2; exit 1; }
cat <<END
arguments<<EOF
BASE_IMAGE=${tag}@${digest}
VERSION=${GITHUB_REF_NAME}
REVISION=${GITHUB_SHA}
SOURCE=${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}
EOF
END
