//! What can go wrong, told apart where the API answers differently.

use potluck_cache::CacheError;

/// The cache could not do what an administrator asked.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// Nothing of this name is there.
    #[error("the cache does not hold {0}")]
    NotHeld(String),
    /// More than one content goes by the name.
    #[error("{name} is the name of more than one content: name one of {}", ids.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The first of the contents.
        ids: Vec<String>,
    },
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The cache refused.
    #[error("{0}")]
    Cache(CacheError),
}

impl From<CacheError> for ContentsError {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::NotHeld(id) => Self::NotHeld(id.to_string()),
            error => Self::Cache(error),
        }
    }
}
