//! Who a job says it is to its origins, and text that is never shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

/// Text that is never shown and not left in memory.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text, for who is to send or keep it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Who a job says it is to its origins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// Basic authentication (RFC 7617).
    Basic {
        /// The user; without a colon.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token (RFC 6750).
    Bearer {
        /// The token.
        token: Secret,
    },
}

/// Which kind of credentials a job has: all that is shown of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A user and a password.
    Basic,
    /// A token.
    Bearer,
}

impl Credentials {
    /// Which kind they are.
    #[must_use]
    pub const fn kind(&self) -> CredentialKind {
        match self {
            Self::Basic { .. } => CredentialKind::Basic,
            Self::Bearer { .. } => CredentialKind::Bearer,
        }
    }

    /// The value of the header field `Authorization`.
    #[must_use]
    pub fn header(&self) -> Secret {
        Secret(match self {
            Self::Basic { user, password } => {
                let pair = Secret(format!("{user}:{}", password.expose()));
                format!("Basic {}", STANDARD.encode(pair.expose()))
            }
            Self::Bearer { token } => format!("Bearer {}", token.expose()),
        })
    }
}
