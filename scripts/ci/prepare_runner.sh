#!/usr/bin/env bash
# Makes a GitHub runner fit: room for torch and the images, and namespaces for the stand-in cluster's pods.
set -euo pipefail
[[ "${GITHUB_ACTIONS:-}" == true ]] || { echo "This removes toolchains: only for a GitHub runner." >&2; exit 2; }

sudo rm -rf /usr/share/dotnet /usr/local/lib/android /opt/ghc /opt/hostedtoolcache/CodeQL
sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
df -h /
