//! `probe-login`: sends one login to the backend as the gateway would, and shows what it would conclude from the answer.
//!
//! It makes no session and asks no store. It must never print the password, a token or a cookie's value: what is shown
//! of the answer is chosen by `report`.

mod report;
mod request;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};

use self::report::{Conclusion, Hidden, Report};
use self::request::{Encoding, encode, field, header};
use super::{BAD_CONFIGURATION, ConfigOption, FAILED, complain, say};
use crate::clock::{Clock as _, SharedClock, SystemClock};
use crate::config::{Capture, Config, HostHeader, LoginReading, UpstreamConfig, locate, process_environment};
use crate::http::{
    BrowserJar, IdentityPointers, LARGEST_ANSWER_TO_A_QUESTION, LoginIdentity, NotedHeaders, RequestFilter,
    RequestHost, Target, drop_gateway_set_cookie, question_headers, take_gateway_cookie,
};
use crate::policy::{Permit, Route, rewrite};
use crate::telemetry::Metrics;
use crate::upstream::{RequestBody, Upstream, UpstreamSettings, read_whole};

/// The longest password, in bytes.
const LONGEST_PASSWORD: u64 = 4096;

/// Options of `probe-login`.
#[derive(Args, Clone, Debug)]
pub struct ProbeOptions {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigOption,
    /// A field of the login: `username=alice`. Repeat it for each
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// The field of the password, which is read from standard input
    #[arg(long, value_name = "NAME", default_value = "password")]
    pub password_field: String,
    /// Send no password
    #[arg(long)]
    pub no_password: bool,
    /// Send the fields as a JSON object (the default with `capture = "json"`)
    #[arg(long, conflicts_with = "form")]
    pub json: bool,
    /// Send the fields as a form (the default otherwise)
    #[arg(long)]
    pub form: bool,
    /// A further header: `Cookie: csrftoken=…`. Repeat it for each
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The path of the login, where there are several [default: the first of login.path]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
}

/// Sends the login and reports. Exit code 0: a session would be made.
#[must_use]
pub fn probe_login(options: &ProbeOptions) -> ExitCode {
    let config = match Config::load(&locate(options.config.config.clone(), process_environment), &process_environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let path = options.path.as_deref().unwrap_or_else(|| first_path(&config));
    let Ok(target) = Target::parse(path) else {
        complain(format_args!("{path} is not a path that can be sent; name one with --path"));
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let outcome = fields(options).and_then(|(fields, hidden)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(Probe::new(&config, &target, hidden)?.run(options, &fields)))
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            complain(format_args!("session-gateway: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn first_path(config: &Config) -> &str {
    config.login.paths.first().map_or("/", crate::policy::PathPattern::as_str)
}

/// The fields with the password, and what of them must not be shown.
fn fields(options: &ProbeOptions) -> io::Result<(Vec<(String, String)>, Hidden)> {
    let mut fields = options.fields.clone();
    if !options.no_password {
        fields.retain(|(name, _)| *name != options.password_field);
        fields.push((options.password_field.clone(), password()?));
    }
    let mut hidden = Hidden::default();
    for (name, value) in &fields {
        if *name == options.password_field || report::is_sensitive(name) {
            hidden.add(value);
        }
    }
    Ok((fields, hidden))
}

/// One line of standard input; typed unseen where that is a terminal.
fn password() -> io::Result<String> {
    let input = io::stdin();
    let _unseen = if input.is_terminal() { Some(Unseen::begin()?) } else { None };
    let mut line = String::new();
    input.lock().take(LONGEST_PASSWORD).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that does not show what is typed, until it is dropped.
struct Unseen(rustix::termios::Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        unseen.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        complain("Password (it is not shown):");
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

/// One login on its way.
struct Probe<'a> {
    config: &'a Config,
    target: &'a Target,
    route: Arc<Route>,
    settings: &'a UpstreamConfig,
    upstream: Upstream,
    host: RequestHost,
    hidden: Hidden,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Bytes, String>,
}

impl<'a> Probe<'a> {
    fn new(config: &'a Config, target: &'a Target, hidden: Hidden) -> io::Result<Self> {
        let segments: Vec<_> = target.segments().collect();
        let route = config.routes.pick(&Method::POST, &segments, target.path().ends_with('/')).clone();
        let settings =
            config.upstreams.get(&route.upstream).ok_or_else(|| io::Error::other("the route has no upstream"))?;
        let upstream = upstream(&route.upstream, settings);
        let host = public_host(config).ok_or_else(|| io::Error::other("server.public_url names no host"))?;
        Ok(Self { config, target, route, settings, upstream, host, hidden })
    }

    /// Sends the login, prints the report, and says whether a session would be made.
    async fn run(mut self, options: &ProbeOptions, fields: &[(String, String)]) -> bool {
        let json = options.json || (!options.form && matches!(self.config.login.capture, Capture::Json(_)));
        let (kind, body) = encode(if json { Encoding::Json } else { Encoding::Form }, fields);
        let mut headers = self.client_headers(options);
        headers.insert(CONTENT_TYPE, kind);
        let mut jar = BrowserJar::of_request(&headers, self.host.host());
        self.hidden.add_cookies(&headers);
        let question = question_headers(&headers);

        let peers: Vec<String> = self.settings.peers.iter().map(ToString::to_string).collect();
        say(format_args!("POST {} to {} ({})", self.target.as_str(), self.upstream.name(), peers.join(", ")));
        let max = self.config.login.max_body;
        let answer = match self.send(Method::POST, self.target, headers, body, max).await {
            Ok(answer) => answer,
            Err(error) => {
                complain(format_args!("  {error}"));
                return false;
            }
        };
        self.hidden.add_answer(&answer.headers, answer.body.as_deref().unwrap_or_default());
        self.show(&answer);
        let conclusion = match &answer.body {
            _ if !self.config.login.is_success(answer.status) => Conclusion::NoSuccess(answer.status),
            Err(why) => Conclusion::Unreadable(why.clone()),
            Ok(body) => match self.config.login.read(&answer.headers, body, &self.config.identity.rules) {
                LoginReading::Failed => Conclusion::Failed,
                LoginReading::Unfinished => Conclusion::Unfinished,
                LoginReading::NoCookie => Conclusion::NoCookie,
                LoginReading::Names(identity) => self.report().explain(identity, &answer.headers, body),
                LoginReading::Ask { target, pointers } => {
                    self.ask(&mut jar, &question, target, pointers, &answer.headers).await
                }
            },
        };
        say("");
        say(self.report().conclusion(&conclusion));
        if self.config.tenants.is_some() && conclusion.is_session() {
            say("  (The gateway would ask `tenants.verify`, too; that was not tried.)");
        }
        conclusion.is_session()
    }

    /// Who the backend takes the browser for: before the login's cookies, then with them.
    async fn ask(
        &mut self,
        jar: &mut BrowserJar,
        question: &HeaderMap,
        target: &Target,
        pointers: &IdentityPointers,
        login: &HeaderMap,
    ) -> Conclusion {
        for login_done in [false, true] {
            if login_done {
                // As the gateway, which drops a cookie of its own name.
                let mut set = login.clone();
                drop_gateway_set_cookie(&mut set, &self.config.cookie.name);
                jar.receive(&set, self.target.path(), SystemClock.wall().as_micros() / 1_000_000);
            }
            let Some(cookies) = jar.cookie_header(target.path()) else { continue };
            let mut headers = question.clone();
            headers.insert(COOKIE, cookies);
            let when =
                if login_done { "with the cookies that the login set" } else { "with the request's own cookies" };
            say(format_args!("\nGET {} {when}", target.as_str()));
            let answer = match self.send(Method::GET, target, headers, Bytes::new(), LARGEST_ANSWER_TO_A_QUESTION).await
            {
                Ok(answer) => answer,
                Err(error) => return Conclusion::Unreadable(error),
            };
            self.hidden.add_answer(&answer.headers, answer.body.as_deref().unwrap_or_default());
            self.show(&answer);
            let body = match answer.body {
                Ok(body) => body,
                Err(why) => return Conclusion::Unreadable(why),
            };
            let rules = &self.config.identity.rules;
            match (login_done, LoginIdentity::from_whoami(answer.status, &body, pointers, rules)) {
                (false, LoginIdentity::None) => {}
                (false, _) => return Conclusion::NamedBefore,
                (true, LoginIdentity::None) if !answer.status.is_success() => {
                    return Conclusion::Refused(answer.status);
                }
                (true, identity) => return self.report().explain(identity, &answer.headers, &body),
            }
        }
        Conclusion::NoCookie
    }

    fn report(&self) -> Report<'_> {
        Report { capture: &self.config.login.capture, hidden: &self.hidden }
    }

    fn show(&self, answer: &Answer) {
        let body = answer.body.as_deref().map_err(String::as_str);
        say(self.report().answer(answer.status, &answer.headers, body));
    }

    /// What a client would have sent, as far as the gateway lets it through.
    fn client_headers(&self, options: &ProbeOptions) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("session-gateway/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in &options.headers {
            headers.append(name.clone(), value.clone());
        }
        let filter =
            RequestFilter::new(self.config.identity.protected_names(), self.config.server.allow_headers.clone());
        let mut headers = NotedHeaders::from(headers);
        filter.strip_request(&mut headers);
        let _ = take_gateway_cookie(&mut headers, &self.config.cookie.name);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.into_map()
    }

    async fn send(
        &self,
        method: Method,
        target: &Target,
        mut headers: HeaderMap,
        body: Bytes,
        max: usize,
    ) -> Result<Answer, String> {
        let identity = &self.config.identity;
        let permit = Permit::anonymous(&self.route);
        rewrite(&mut headers, &permit, &identity.headers, identity.anonymous.as_ref())
            .map_err(|error| error.to_string())?;
        let host = self.host.header_value().clone();
        let of_upstream = match &self.settings.host {
            HostHeader::Preserve => host.clone(),
            HostHeader::Fixed(fixed) => fixed.clone(),
        };
        headers.insert(HOST, of_upstream);
        headers.insert("x-forwarded-host", host);
        headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
        let scheme = self.config.server.public_url.scheme();
        headers.insert("x-forwarded-proto", HeaderValue::from_static(scheme.as_str()));
        headers.insert("x-request-id", HeaderValue::from_static("probe-login"));
        let mut request = Request::new(if body.is_empty() { RequestBody::Empty } else { RequestBody::Full(body) });
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(target.path_and_query().clone());
        *request.headers_mut() = headers;
        let (parts, body) = self.upstream.send(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = read_whole(&parts.headers, body, max, self.settings.response_timeout)
            .await
            .map_err(|error| error.to_string());
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

fn upstream(name: &Arc<str>, config: &UpstreamConfig) -> Upstream {
    let settings = UpstreamSettings {
        name: name.clone(),
        peers: config.peers.clone(),
        balance: config.balance,
        health: None,
        eject: None,
        trust: config.trust.clone(),
        keepalive: None,
        connect_timeout: config.connect_timeout,
        response_timeout: config.response_timeout,
    };
    let clock: SharedClock = Arc::new(SystemClock);
    Upstream::new(settings, &clock, &Metrics::new())
}

/// The host that browsers send, of `server.public_url`.
fn public_host(config: &Config) -> Option<RequestHost> {
    let url = config.server.public_url.to_string();
    RequestHost::parse(url.split_once("://")?.1)
}
