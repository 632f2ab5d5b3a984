#!/bin/sh
# Brings the real programs of the interoperation tests into .cache/tools; quick when they are there. Names select some: `install.sh crane skopeo`.
# Needs Debian's apt (no root), Go, and the pinned Node that `npm ci` brings. Nothing is installed on the system.
set -eu
here=$(CDPATH='' cd -P -- "$(dirname -- "$0")" && pwd)
root=$here/../..
[ -e "$root/node_modules/.bin/node" ] || {
  echo 'install: the pinned Node is not there: run `npm ci` first' >&2
  exit 1
}
# One installer at a time: they share the lists of packages.
mkdir -p "$root/.cache"
if [ "$(command -v flock)" ]; then
  exec flock "$root/.cache/install.lock" "$root/node_modules/.bin/node" "$here/install.ts" "$@"
fi
exec "$root/node_modules/.bin/node" "$here/install.ts" "$@"
