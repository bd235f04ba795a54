//! What a job may choose of how its origins are asked.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the origins of one job are asked. All fields have defaults.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OriginOptions {
    /// What we call ourselves. `None`: as the node is set.
    pub user_agent: Option<String>,
    /// The method of the requests that fetch; `None` is GET. What another method brings
    /// is for this job alone.
    pub method: Option<String>,
    /// What a redirect is met with.
    pub redirects: Redirects,
    /// Whether a redirect may lead from https to http.
    pub allow_downgrade: bool,
    /// The proxy on the way to the origin.
    pub proxy: ProxyChoice,
    /// Trust roots beside those of the system and of the node: PEM files.
    pub ca_files: Vec<PathBuf>,
    /// What we show to servers that ask who we are.
    pub client_certificate: Option<ClientCertificate>,
}

impl OriginOptions {
    /// Whether it is asked as usual.
    #[must_use]
    pub fn is_get(&self) -> bool {
        let method = self.method.as_ref();
        method.is_none_or(|method| method.eq_ignore_ascii_case("GET"))
    }

    /// Whether asking twice comes to the same as asking once (RFC 9110, section 9.2.2).
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        let method = self.method.as_ref();
        method.is_none_or(|text| {
            http::Method::from_bytes(text.as_bytes()).is_ok_and(|method| method.is_idempotent())
        })
    }
}

/// What a redirect is met with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redirects {
    /// It is followed.
    #[default]
    Allow,
    /// It is followed, and where it led becomes the URL of the file.
    Report,
    /// It ends the file in error.
    Forbid,
}

/// The proxy on the way to an origin.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyChoice {
    /// As `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say in the environment
    /// of the node.
    #[default]
    Environment,
    /// None.
    None,
    /// This one, `http://[USER:PASSWORD@]HOST[:PORT]`, or the same of `socks5` or `socks5h`,
    /// which looks up the names of hosts itself.
    Url(String),
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate, and those up to its authority: a PEM file.
    pub certificate_file: PathBuf,
    /// Its private key: a PEM file.
    pub key_file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_default() {
        let options: OriginOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(options, OriginOptions::default());
        let text = r#"{"redirects":"forbid","proxy":{"url":"http://p:3128"}}"#;
        let options: OriginOptions = serde_json::from_str(text).unwrap();
        assert_eq!(options.redirects, Redirects::Forbid);
        assert_eq!(options.proxy, ProxyChoice::Url("http://p:3128".to_owned()));
        let kept = serde_json::to_string(&options).unwrap();
        assert_eq!(
            serde_json::from_str::<OriginOptions>(&kept).unwrap(),
            options
        );
        assert!(serde_json::from_str::<OriginOptions>(r#"{"proxi":"none"}"#).is_err());
    }
}
