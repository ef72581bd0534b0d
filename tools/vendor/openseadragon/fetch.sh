#!/bin/sh
# Fetches OpenSeadragon as it is published and compares it with the copy in the tree: its own
# minified file, unchanged, so that anybody can compare the hash. Needs npm; the portal does not.
set -eu
cd "$(dirname "$0")"
version=6.1.1
target=../../../web/portal/static/vendor/openseadragon
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

npm pack --silent --pack-destination "$work" "openseadragon@$version" > /dev/null
echo "b4ab2942f33b90e0448e4d20fc5ed14cee049f1f3ae49d70afd4b05e9a2f92d0  $work/openseadragon-$version.tgz" \
    | sha256sum --check --quiet
tar -xzf "$work/openseadragon-$version.tgz" -C "$work"
mkdir -p "$target"
cp "$work/package/build/openseadragon/openseadragon.min.js" "$work/package/LICENSE.txt" "$target/"
(cd "$target" && sha256sum LICENSE.txt openseadragon.min.js > SHA256SUMS)
git diff --exit-code --stat -- "$target"
