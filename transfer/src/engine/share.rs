//! What a node gives of what it downloads.

/// What is given to peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Share {
    /// Validated contents.
    #[default]
    Validated,
    /// Pieces of downloads under way as well.
    Downloading,
}
