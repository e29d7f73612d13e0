//! Which bytes and names do we have? Blobs, manifests, archives.
