//! The content cache: what is on this disk.
