# What projects call "node": the interpreter and its package manager, out of Debian's packages.
FROM debian:minbase
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates nodejs npm && rm -rf /var/lib/apt/lists/*
