#!/bin/sh
# Makes a cluster the first time, then becomes the server.
set -e
[ -s "$PGDATA/PG_VERSION" ] || initdb --auth=trust --no-sync >/dev/null
exec "$@"
