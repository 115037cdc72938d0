//! Where the admin API is, and the token to show there: from options, the environment, or the configuration file.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use http::Uri;
use http::uri::Scheme;

use super::trouble::Trouble;
use crate::cli::options::ConfigOption;
use crate::config::{AdminConfig, AdminRole, Config, locate};
use crate::secret::Secret;
use crate::upstream::Trust;

const URL_VARIABLE: &str = "SESSION_GATEWAY_ADMIN_URL";
const TOKEN_VARIABLE: &str = "SESSION_GATEWAY_ADMIN_TOKEN";
/// The largest token file, and the longest token, in bytes.
const LONGEST_TOKEN: u64 = 4096;
/// The largest file of authorities, in bytes.
const LARGEST_CA: u64 = 4 * 1024 * 1024;

/// Where the admin API is, and who asks.
#[derive(Args, Clone, Debug, Default)]
pub struct ApiOptions {
    /// Which configuration: its `[admin]` says where the API is, and has the token.
    #[command(flatten)]
    pub config: ConfigOption,
    /// The API's address [default: $SESSION_GATEWAY_ADMIN_URL, else admin.listen of the configuration]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A file with the token [default: $SESSION_GATEWAY_ADMIN_TOKEN, else the configuration's]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The authorities to believe over https, in PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// All that a call needs to know.
#[derive(Debug)]
pub(in crate::cli) struct Access {
    /// Of the socket: a name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As it is written in a URL.
    pub(super) authority: String,
    pub(super) token: Secret,
    /// Where the token came from, for people.
    pub(super) token_source: String,
    /// `None`: plain HTTP.
    pub(super) trust: Option<Trust>,
}

impl Access {
    /// The first of what the options, the environment (`variable`) and the configuration say. The configuration is
    /// read only for what the others leave open. Of its tokens the first that has all `roles`, else the first that has
    /// the first of them.
    pub(in crate::cli) fn find(
        options: &ApiOptions,
        roles: &[AdminRole],
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Trouble> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let url = options.url.clone().or_else(|| given(URL_VARIABLE));
        let token = match (&options.token_file, given(TOKEN_VARIABLE)) {
            (Some(file), _) => Some((token_in(file)?, file.display().to_string())),
            (None, Some(token)) => Some((usable(&token, TOKEN_VARIABLE)?, format!("${TOKEN_VARIABLE}"))),
            (None, None) => None,
        };
        let admin = if url.is_none() || token.is_none() {
            let file = locate(options.config.config.clone(), variable);
            let config = Config::load(&file, variable).map_err(|errors| Trouble::Usage(errors.to_string()))?;
            Some((config.admin, file))
        } else {
            None
        };
        let (is_https, host, port) = match (&url, &admin) {
            (Some(url), _) => parse(url)?,
            (None, Some((admin, _))) => local(admin),
            (None, None) => return Err(Trouble::Usage(String::from("no URL of the admin API is known; set --url"))),
        };
        let (token, token_source) = match (token, &admin) {
            (Some(token), _) => token,
            (None, Some((admin, file))) => configured(admin, file, roles)?,
            (None, None) => return Err(Trouble::Usage(String::from("no token is known; set --token-file"))),
        };
        let trust = if is_https { Some(trust(options.ca.as_deref())?) } else { None };
        let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = format!("{shown}:{port}");
        Ok(Self { host, port, authority, token, token_source, trust })
    }
}

/// Scheme, host and port of a URL. Plain HTTP goes to this machine only: it would show the token to the network.
fn parse(url: &str) -> Result<(bool, String, u16), Trouble> {
    let bad = |what: &str| {
        let url = crate::http::printable(url.as_bytes(), 200);
        Trouble::Usage(format!("{url}: {what}; write it as https://HOST:PORT, or http://127.0.0.1:9090"))
    };
    let uri: Uri = url.parse().map_err(|_| bad("is no URL"))?;
    let is_https = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(bad("is neither http nor https")),
    };
    let has_more = uri.path() != "/" || uri.query().is_some();
    if has_more || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(bad("has more than a host and a port"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
    if !is_https && !is_here {
        return Err(bad("would carry the token over the network in the clear"));
    }
    Ok((is_https, host, uri.port_u16().unwrap_or(if is_https { 443 } else { 80 })))
}

/// Where this machine reaches the configured listener.
fn local(admin: &AdminConfig) -> (bool, String, u16) {
    let ip = match admin.listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    (admin.tls.is_some(), ip.to_string(), admin.listen.port())
}

fn configured(admin: &AdminConfig, file: &Path, roles: &[AdminRole]) -> Result<(Secret, String), Trouble> {
    let file = file.display();
    let first_with =
        |roles: &[AdminRole]| admin.tokens.iter().find(|token| roles.iter().all(|role| token.roles.contains(role)));
    let found = first_with(roles).or_else(|| first_with(roles.get(..1).unwrap_or_default()));
    if let Some(token) = found {
        return Ok((token.secret.clone(), format!("the token \"{}\" of {file}", token.name)));
    }
    Err(Trouble::Usage(match roles.first().filter(|_| !admin.tokens.is_empty()) {
        Some(role) => format!(
            "{file}: none of admin.tokens has the role `{}`, which this needs; name another with --token-file or \
             ${TOKEN_VARIABLE}",
            role.as_str()
        ),
        None => format!(
            "{file}: there is no token for the admin API; set admin.token or admin.token_file there, or name one with \
             --token-file or ${TOKEN_VARIABLE}"
        ),
    }))
}

/// Until it is known to be a file, its name is not shown: it may be the token itself.
fn token_in(file: &Path) -> Result<Secret, Trouble> {
    let text = read(file, LONGEST_TOKEN)
        .map_err(|why| Trouble::Usage(format!("--token-file names a file that cannot be used: {why}")))?;
    let text = String::from_utf8(text).unwrap_or_default();
    usable(&text, &file.display().to_string())
}

fn usable(text: &str, place: &str) -> Result<Secret, Trouble> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Trouble::Usage(format!("{place}: holds no token; write it there as one line of visible ASCII")));
    }
    Ok(Secret::new(token))
}

fn trust(ca: Option<&Path>) -> Result<Trust, Trouble> {
    let Some(file) = ca else { return Trust::of_the_system().map_err(|error| Trouble::Usage(error.to_string())) };
    let wrong = |why: &dyn std::fmt::Display| Trouble::Usage(format!("{}: {why}", file.display()));
    let pem = read(file, LARGEST_CA).map_err(|error| wrong(&error))?;
    Trust::in_pem(&pem).map_err(|error| wrong(&error))
}

fn read(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file).and_then(|open| open.take(most + 1).read_to_end(&mut bytes))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        return Err(io::Error::other(format!("is larger than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(text: &str) -> AdminConfig {
        let text = format!(
            "[server]\npublic_url = \"https://a.test\"\n[upstream]\nurl = \"http://127.0.0.1:1\"\n[store]\nembedded = \"s\"\n\
             [login]\npath = \"/l\"\ntenant = [\"/t\"]\nuser = [\"/u\"]\n[admin]\n{text}"
        );
        Config::parse("x.toml", &text, &|_| None).expect("valid").admin
    }

    #[test]
    fn a_url_names_a_host_and_plain_http_stays_on_this_machine() {
        for (url, expected) in [
            ("http://127.0.0.1:9090", Some((false, "127.0.0.1", 9090))),
            ("http://[::1]:9090/", Some((false, "::1", 9090))),
            ("http://localhost", Some((false, "localhost", 80))),
            ("https://gateway.test", Some((true, "gateway.test", 443))),
            ("http://gateway.test:9090", None),
            ("http://10.0.0.1:9090", None),
            ("http://127.0.0.1@evil.test", None),
            ("https://gateway.test/x", None),
            ("ftp://127.0.0.1", None),
            ("127.0.0.1:9090", None),
            ("", None),
        ] {
            let parsed = parse(url).ok();
            assert_eq!(parsed.as_ref().map(|(tls, host, port)| (*tls, host.as_str(), *port)), expected, "{url}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_over_loopback() {
        for (listen, expected) in [("0.0.0.0:9", "127.0.0.1"), ("[::]:9", "::1"), ("127.0.0.2:9", "127.0.0.2")] {
            let admin = admin(&format!("listen = \"{listen}\""));
            assert_eq!(local(&admin), (false, expected.to_owned(), 9));
        }
    }

    #[test]
    fn the_configured_token_is_the_first_with_all_roles_else_with_the_most_needed() {
        let entry = |name: &str, roles: &str| {
            let token = format!("{name}-0123456789-0123456789-0123456789-0123456789");
            format!("[[admin.tokens]]\nname = \"{name}\"\ntoken = \"{token}\"\nroles = [{roles}]\n")
        };
        let both = admin(&(entry("one", "\"operate\"") + &entry("two", "\"read\", \"operate\"")));
        let name =
            |admin: &AdminConfig, roles: &[AdminRole]| configured(admin, Path::new("x.toml"), roles).map(|(_, s)| s);
        let needed = [AdminRole::Operate, AdminRole::Read];
        assert_eq!(name(&both, &needed), Ok(String::from("the token \"two\" of x.toml")));
        assert_eq!(name(&both, &needed[..1]), Ok(String::from("the token \"one\" of x.toml")));
        let only = admin(&entry("one", "\"operate\""));
        assert_eq!(name(&only, &needed), Ok(String::from("the token \"one\" of x.toml")));
        assert!(matches!(name(&only, &needed[1..]), Err(Trouble::Usage(text)) if text.contains("role `read`")));
        assert!(matches!(name(&admin(""), &needed), Err(Trouble::Usage(text)) if text.contains("no token")));
    }

    #[test]
    fn options_and_environment_spare_the_configuration_and_a_file_goes_before_the_environment() {
        let variable = |name: &str| match name {
            URL_VARIABLE => Some(String::from("http://127.0.0.1:1")),
            TOKEN_VARIABLE => Some(String::from("from-the-environment")),
            _ => None,
        };
        let nowhere = ConfigOption { config: Some(PathBuf::from("/nowhere/x.toml")) };
        let mut options = ApiOptions { config: nowhere, ..ApiOptions::default() };
        let access = Access::find(&options, &[], &variable).expect("all is known");
        assert_eq!((access.authority.as_str(), access.token.expose_secret()), ("127.0.0.1:1", "from-the-environment"));
        assert!(matches!(Access::find(&options, &[], &|_| None), Err(Trouble::Usage(_))));
        let file = tempfile::NamedTempFile::new().expect("a file");
        options.token_file = Some(file.path().to_owned());
        for (content, expected) in [("in-a-file\n", Some("in-a-file")), ("", None), ("two words", None)] {
            std::fs::write(file.path(), content).expect("written");
            let found = Access::find(&options, &[], &variable).ok();
            assert_eq!(found.as_ref().map(|access| access.token.expose_secret()), expected, "{content}");
        }
    }
}
