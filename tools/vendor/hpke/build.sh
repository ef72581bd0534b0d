#!/bin/sh
# Rebuilds the HPKE bundle from the locked packages and compares it with the one in the tree.
# Needs Node 20 and npm; the portal itself needs neither.
set -eu
cd "$(dirname "$0")"
target=../../../web/portal/static/vendor/hpke

npm ci --no-audit --no-fund
mkdir -p "$target"
npx esbuild entry.js --bundle --format=esm --minify --target=es2022 --legal-comments=none \
    --outfile="$target/hpke-core.js"
{
    echo "hpke-core.js holds @hpke/core and @hpke/common, both under this licence:"
    echo
    cat node_modules/@hpke/core/LICENSE
    echo
    echo "@hpke/common: $(grep '^Copyright' node_modules/@hpke/common/LICENSE)"
} > "$target/LICENSE"
(cd "$target" && sha256sum hpke-core.js > SHA256SUMS)
git diff --exit-code --stat -- "$target"
