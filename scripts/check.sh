#!/bin/sh
# Types, lint and format, direction of imports, generated files: the one command before a commit.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
tsc -p .
biome check --error-on-warnings .
node scripts/check-imports.ts
node scripts/write-schema.ts --check
