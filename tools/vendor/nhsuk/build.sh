#!/bin/sh
# Compiles the vendored style sheet again. Run it by hand when a version or a colour changes and
# commit the result; nothing is built at run time. Needs Node 20 with npm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../../../web/portal/static/vendor/nhsuk
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$here/package.json" "$here/dermqueue.scss" "$work/"
cd "$work"
npm install --ignore-scripts --no-audit --no-fund --silent
./node_modules/.bin/sass --quiet-deps --no-source-map --style=compressed \
    --load-path=node_modules/nhsuk-frontend/dist/nhsuk dermqueue.scss nhsuk.css

# Only the pictures that the style sheet names are taken along; the NHS logo and icons stay out.
mkdir -p "$target/assets/images"
cp nhsuk.css "$target/nhsuk.css"
grep -o 'assets/images/[a-z0-9.-]*' nhsuk.css | sort -u | while read -r picture; do
    cp "node_modules/nhsuk-frontend/dist/nhsuk/$picture" "$target/$picture"
done
if grep -Eq 'url\(["'\'']?(https?:)?//' "$target/nhsuk.css"; then
    echo "The style sheet calls another server." >&2
    exit 1
fi
cd "$target"
find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs sha256sum > SHA256SUMS
