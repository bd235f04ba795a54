//! A peer-to-peer caching node.
