//! How do layers become a file system? Unpack, diff, overlay.
