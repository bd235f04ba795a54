//! What a node gives of what it downloads.

/// What is given to peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Share {
    /// Validated contents, and of downloads under way what a manifest proves.
    #[default]
    Validated,
    /// Everything of downloads under way as well.
    Downloading,
}
