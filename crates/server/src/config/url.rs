//! The address that devices are told to download from.

use std::fmt;
use std::net::SocketAddr;

/// Host names that the C SDK can hold.
pub(super) const C_HOST_CHARS_MAX: usize = 49;

/// Scheme, host and port, and nothing after them.
///
/// The port is written out: C devices find the host by the colon behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl(String);

impl PublicUrl {
    /// Takes what an operator wrote. `Err` says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<PublicUrl, &'static str> {
        let text = text.trim().trim_end_matches('/');
        let Some(authority) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
            return Err("it does not begin with http:// or https://");
        };
        if authority.contains(['/', '?', '#', '@'])
            || authority.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            return Err("it has more than a host and a port");
        }
        let Some((host, port)) = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) else {
            return Err("it has no port, which C devices need");
        };
        if host.is_empty() {
            return Err("it has no host");
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err("an IPv6 address needs brackets");
        }
        // A sign would be read here and by no device.
        match port.parse::<u16>() {
            Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(PublicUrl(text.to_owned())),
            Ok(_) | Err(_) => Err("its port is not between 1 and 65535"),
        }
    }

    /// The address of a listener that is no wildcard.
    pub(crate) fn of_listener(scheme: &str, address: SocketAddr) -> PublicUrl {
        PublicUrl(format!("{scheme}://{address}"))
    }

    pub(super) fn host(&self) -> &str {
        let authority = self.0.split_once("://").map_or(self.0.as_str(), |(_, authority)| authority);
        authority.rsplit_once(':').map_or(authority, |(host, _)| host)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_are_all_there_is() {
        let taken = |text: &str| PublicUrl::parse(text).map(|url| (url.to_string(), url.host().to_owned()));
        let good = |url: &str, host: &str| Ok((url.to_owned(), host.to_owned()));
        assert_eq!(
            taken("https://ota.example.com:8443/"),
            good("https://ota.example.com:8443", "ota.example.com")
        );
        assert_eq!(taken("http://10.0.0.1:8080"), good("http://10.0.0.1:8080", "10.0.0.1"));
        assert_eq!(taken("http://[::1]:8080"), good("http://[::1]:8080", "[::1]"));

        let refused = |text: &str| PublicUrl::parse(text).unwrap_err();
        assert_eq!(refused("ota.example.com:8443"), "it does not begin with http:// or https://");
        assert_eq!(refused("https://ota.example.com"), "it has no port, which C devices need");
        assert_eq!(refused("https://[::1]"), "it has no port, which C devices need");
        assert_eq!(refused("https://::1:80"), "an IPv6 address needs brackets");
        assert_eq!(refused("https://ota.example.com:8443/ota"), "it has more than a host and a port");
        assert_eq!(refused("https://me@ota.example.com:8443"), "it has more than a host and a port");
        assert_eq!(refused("https://:8443"), "it has no host");
        assert_eq!(refused("https://ota.example.com:0"), "its port is not between 1 and 65535");
        assert_eq!(refused("https://ota.example.com:+443"), "its port is not between 1 and 65535");
        assert_eq!(refused("https://ota.example\0.com:443"), "it has more than a host and a port");
        assert_eq!(refused("https://ota.example.com:http"), "its port is not between 1 and 65535");
    }
}
