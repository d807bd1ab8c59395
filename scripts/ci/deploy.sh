#!/usr/bin/env bash
# Verifies signatures, then deploys. IMAGES: JSON, name → address by digest; REVISION: the commit whose manifests are
# applied; OVERLAY: a folder of k8s/overlays; KUBECONFIG_BASE64: the cluster.
set -euo pipefail
: "${IMAGES:?}" "${REVISION:?}" "${OVERLAY:?}" "${KUBECONFIG_BASE64:?}"
python="${PYTHON:-.tools/check/bin/python}"

addresses="$("${python}" -c 'import json, os; print("\n".join(json.loads(os.environ["IMAGES"]).values()))')"
mapfile -t images <<<"${addresses}"
"$(dirname "$0")/verify_signatures.sh" "${images[@]}"

KUBECONFIG="$(mktemp)"
export KUBECONFIG
trap 'rm -f "${KUBECONFIG}"' EXIT
base64 --decode <<<"${KUBECONFIG_BASE64}" >"${KUBECONFIG}"
"${python}" -m scripts.ci.deploy --overlay "${OVERLAY}" --revision "${REVISION}" --images "${IMAGES}"
