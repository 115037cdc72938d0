//! `probe-login`: sends one login to the backend as the gateway would, and shows what it would conclude from the answer.
//!
//! It makes no session and asks no store. It must never print the password, a token or a cookie's value: what is shown
//! of the answer is chosen by `report`.

mod advice;
mod candidates;
mod hidden;
mod report;
mod request;
mod tokens;
mod values;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use self::hidden::{Hidden, LONGEST_SHOWN};
use self::report::{Conclusion, Known, Offers, Report, Seen, cookie_names};
use self::request::{Encoding, encode, field, header};
use super::options::ConfigOption;
use super::output::{BAD_CONFIGURATION, FAILED, complain, say, say_json};
use crate::bearer::{BadBearer, Bearer};
use crate::clock::{Clock as _, SharedClock, SystemClock};
use crate::config::{Config, Login, UpstreamConfig, locate, process_environment};
use crate::entropy::{Entropy as _, SystemEntropy};
use crate::http::{NotedHeaders, RequestFilter, RequestHost, Target, is_safe, printable, take_gateway_cookie};
use crate::jwt::may_be_anothers;
use crate::login::{Browser, Capture, Inquiry, LARGEST_ANSWER_TO_A_QUESTION, Question, Step, Verdict, read_json};
use crate::policy::{Route, permit_login};
use crate::proxy::outgoing::{Head, Sender, ask_for_what_can_be_read, without_body};
use crate::telemetry::Metrics;
use crate::upstream::{RequestBody, Unobserved, Upstream, UpstreamSettings, read_whole};

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
    /// Send the fields as a JSON object (the default with `capture = "json"` and "jwt")
    #[arg(long, conflicts_with = "form")]
    pub json_body: bool,
    /// Send the fields as a form (the default otherwise)
    #[arg(long)]
    pub form: bool,
    /// Send the login a second time with a wrong password, and say whether that would be told apart
    #[arg(long, conflicts_with = "no_password")]
    pub wrong: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
    /// A further header: `Cookie: csrftoken=…`. Repeat it for each
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The path of the login, where there are several, its method before it if that is no POST: "GET /magic/abc" [default:
    /// the first of login.path]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
}

/// Sends the login and reports. Exit code 0: a session would be made, and none with a wrong password, where that was tried.
#[must_use]
pub fn probe_login(options: &ProbeOptions) -> ExitCode {
    let config = match Config::load(&locate(options.config.config.clone(), process_environment), &process_environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let first = || config.login.logins.first()?.paths.first().map(ToString::to_string);
    let request = options.path.clone().or_else(first).unwrap_or_default();
    // As in `login.path`.
    let (method, path) = request.split_once(' ').unwrap_or(("POST", &request));
    let Ok(method) = method.parse::<Method>() else {
        complain(format_args!("{method} is no method; name a path with --path, as in --path \"GET /magic/abc\""));
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let Ok(target) = Target::parse(path) else {
        complain(format_args!("{path} is not a path that can be sent; name one with --path"));
        return ExitCode::from(BAD_CONFIGURATION);
    };
    let outcome = fields(options).and_then(|(fields, hidden)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(Probe::new(&config, method, &target, hidden, options.json)?.run(options, &fields)))
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

/// The fields with the password, and what of them must not be shown.
fn fields(options: &ProbeOptions) -> io::Result<(Vec<(String, String)>, Hidden)> {
    let mut fields = options.fields.clone();
    if !options.no_password {
        fields.retain(|(name, _)| *name != options.password_field);
        fields.push((options.password_field.clone(), password()?));
    }
    let mut hidden = Hidden::default();
    for (name, value) in &fields {
        if *name == options.password_field || hidden::is_sensitive(name) {
            hidden.add(value);
        }
    }
    Ok((fields, hidden))
}

/// The fields with a password that nobody has.
fn with_another_password(options: &ProbeOptions, fields: &[(String, String)]) -> Vec<(String, String)> {
    let mut random = [0; 12];
    // Without randomness it is as wrong, only the same each time.
    let _ = SystemEntropy.fill(&mut random);
    let wrong = format!("wrong-{}", URL_SAFE_NO_PAD.encode(random));
    let mut fields: Vec<_> = fields.iter().filter(|(name, _)| *name != options.password_field).cloned().collect();
    fields.push((options.password_field.clone(), wrong));
    fields
}

/// One line of standard input; typed unseen where that is a terminal.
fn password() -> io::Result<String> {
    let read = || {
        let mut line = String::new();
        io::stdin().lock().take(LONGEST_PASSWORD).read_line(&mut line)?;
        Ok(line.trim_end_matches(['\n', '\r']).to_owned())
    };
    if !io::stdin().is_terminal() {
        return read();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let typed = runtime.block_on(async {
        // Heard before the terminal is changed, or a signal just then would leave it so.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let _unseen = Unseen::begin()?;
        tokio::select! {
            typed = tokio::task::spawn_blocking(read) => typed?,
            _ = interrupt.recv() => Err(io::ErrorKind::Interrupted.into()),
            _ = terminate.recv() => Err(io::ErrorKind::Interrupted.into()),
        }
    });
    // Somebody may still wait for a line that nobody types.
    runtime.shutdown_background();
    typed
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
    login: &'a Login,
    method: Method,
    settings: &'a UpstreamConfig,
    upstream: Upstream,
    host: RequestHost,
    hidden: Hidden,
    /// What is found is printed as JSON, at the end.
    json: bool,
}

/// What was found out about one login.
struct Found {
    seen: Vec<Seen>,
    conclusion: Conclusion,
    /// The body of the answer that says who is logged in.
    last: Bytes,
    offers: Offers,
    /// What becomes of the tokens in the login's answer.
    tokens: Vec<String>,
    advice: Vec<String>,
}

impl Default for Found {
    fn default() -> Self {
        let conclusion = Conclusion::Unreadable(String::new());
        Self {
            seen: Vec::new(),
            conclusion,
            last: Bytes::new(),
            offers: Offers::default(),
            tokens: Vec::new(),
            advice: Vec::new(),
        }
    }
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Result<Bytes, String>,
}

impl<'a> Probe<'a> {
    fn new(config: &'a Config, method: Method, target: &'a Target, hidden: Hidden, json: bool) -> io::Result<Self> {
        let segments: Vec<_> = target.segments().collect();
        let slash = target.path().ends_with('/');
        let route = config.routes.pick(&method, &segments, slash).clone();
        // Of a path that is no login's it is tried what it would be as the first one's.
        let login = config.login.find(&method, &segments, slash).or(config.login.logins.first());
        let login = login.ok_or_else(|| io::Error::other("there is no login"))?;
        let settings =
            config.upstreams.get(&route.upstream).ok_or_else(|| io::Error::other("the route has no upstream"))?;
        let upstream = upstream(&route.upstream, settings);
        let host = public_host(config).ok_or_else(|| io::Error::other("server.public_url names no host"))?;
        Ok(Self { config, login, method, target, route, settings, upstream, host, hidden, json })
    }

    /// Sends the login, prints the report, and says whether a session would be made, and none with a wrong password.
    async fn run(mut self, options: &ProbeOptions, fields: &[(String, String)]) -> bool {
        let found = self.log_in(options, fields).await;
        let is_session = found.conclusion.is_session();
        self.say_all(&found);
        let mut wrong = None;
        if options.wrong {
            let fields = with_another_password(options, fields);
            self.say(format_args!("\nOnce more with a wrong password:"));
            self.hidden.add(fields.last().map_or("", |(_, password)| password));
            let found = self.log_in(options, &fields).await;
            wrong = Some(match (is_session, found.conclusion.is_session()) {
                (_, true) => "A wrong password makes a session, too: the configuration does not tell them apart.",
                (true, false) => "A wrong password makes no session: it is told apart.",
                (false, false) => "Neither password makes a session, so that nothing is told apart.",
            });
            self.say(format_args!("{}", self.report().conclusion(&found.conclusion)));
            self.say(format_args!("{}", wrong.unwrap_or_default()));
            if found.conclusion.is_session() {
                self.print_json(&found, wrong);
                return false;
            }
        }
        self.print_json(&found, wrong);
        is_session
    }

    /// One login, with all that is found out about it.
    async fn log_in(&mut self, options: &ProbeOptions, fields: &[(String, String)]) -> Found {
        let by_answer = matches!(self.login.rules.capture, Capture::Json(_) | Capture::Jwt(_));
        let json = options.json_body || (!options.form && by_answer);
        let mut headers = self.client_headers(options);
        // What is asked for by a link has no fields.
        let body = if is_safe(&self.method) {
            Bytes::new()
        } else {
            let (kind, body) = encode(if json { Encoding::Json } else { Encoding::Form }, fields);
            headers.insert(CONTENT_TYPE, kind);
            body
        };
        self.hidden.add_cookies(&headers);
        let own_cookie = &self.config.cookie.name;
        let mut browser = Browser::of_request(own_cookie, &headers, self.host.host(), self.target.path());

        let peers: Vec<String> = self.settings.peers.iter().map(ToString::to_string).collect();
        let request = format!("{} {}", self.method, self.target.as_str());
        self.say(format_args!("{request} to {} ({})", self.upstream.name(), peers.join(", ")));
        let mut found = Found::default();
        let answer = match self.send(self.method.clone(), self.target, headers, body, self.login.max_body).await {
            Ok(answer) => answer,
            Err(error) => return Found { conclusion: Conclusion::Unreadable(error), ..found },
        };
        found.seen.push(self.show(&request, &answer));
        found.conclusion = match &answer.body {
            _ if !self.login.rules.is_success(answer.status) => Conclusion::NoSuccess(answer.status),
            Err(why) => Conclusion::Unreadable(why.clone()),
            Ok(body) => self.conclude(&mut browser, &answer, body, &mut found).await,
        };
        if let Some(document) = answer.body.as_deref().ok().and_then(read_json) {
            self.see_to_tokens(&document, &mut found).await;
        }
        if found.last.is_empty() {
            found.last = answer.body.unwrap_or_default();
        }
        found.offers = self.report().offers(&found.last);
        found.advice = self.report().advice(&found.conclusion, &answer.headers, &found.last, &found.offers);
        found
    }

    /// What the login's answer comes to, once the backend was asked what it takes.
    async fn conclude(&mut self, browser: &mut Browser, login: &Answer, body: &Bytes, found: &mut Found) -> Conclusion {
        let (mut headers, mut body) = (login.headers.clone(), body.clone());
        let mut inquiry = Inquiry::new(&self.login.rules, &self.config.identity.rules);
        let mut step = inquiry.read(browser, &headers, &body, SystemClock.wall().as_micros() / 1_000_000);
        loop {
            let Question { target, headers: asking } = match step {
                Step::Settled(verdict) => {
                    let conclusion = self.report().explain(verdict, &headers, &body);
                    found.last = body;
                    return conclusion;
                }
                Step::Ask(question) => question,
            };
            let with = if asking.contains_key(AUTHORIZATION) {
                String::from("its token")
            } else {
                format!("the cookies {}", cookie_names(&asking).join(", "))
            };
            let request = format!("GET {} with {with}", target.as_str());
            self.say(format_args!("\n{request}"));
            let max = LARGEST_ANSWER_TO_A_QUESTION;
            let answer = match self.send(Method::GET, &target, asking.into(), Bytes::new(), max).await {
                Ok(answer) => answer,
                Err(error) => return Conclusion::Unreadable(error),
            };
            found.seen.push(self.show(&request, &answer));
            headers = answer.headers;
            body = match answer.body {
                Ok(body) => body,
                Err(why) => return Conclusion::Unreadable(why),
            };
            step = inquiry.answered(browser, answer.status, &body);
        }
    }

    /// What becomes of the tokens in the login's answer, and whether `[bearer]` would believe the first.
    async fn see_to_tokens(&mut self, document: &Value, found: &mut Found) {
        let rules = self.login.rules.tokens();
        if let Some(rules) = rules.filter(|_| found.conclusion.is_session()) {
            match tokens::custody(rules, document, SystemClock.wall()) {
                Ok(lines) => found.tokens = lines,
                Err(why) => found.conclusion = Conclusion::Settled(Verdict::Bad(why)),
            }
        }
        let taken = rules.and_then(|rules| rules.text(document)).map(|text| (String::from("the login"), text));
        let (Some(bearer), Some((place, token))) =
            (&self.config.bearer, taken.or_else(|| tokens::first_access(document)))
        else {
            return;
        };
        let clock: SharedClock = Arc::new(SystemClock);
        let identity = self.config.identity.rules;
        let bearer = Bearer::new(bearer.rules.clone(), identity, &clock, &Metrics::new());
        let said = match bearer.verify(token.as_bytes()).await {
            Ok(token) => {
                let whose = Verdict::LoggedIn((*token.record.principal).clone(), Vec::new());
                format!("is good: {}", self.report().conclusion(&Conclusion::Settled(whose)))
            }
            Err(BadBearer::KeysUnavailable) => String::from("cannot be verified: the keys of its issuer cannot be had"),
            Err(BadBearer::Token(fault)) => {
                if rules.is_some() && found.conclusion.is_session() && !may_be_anothers(fault, token) {
                    found.conclusion = Conclusion::Settled(Verdict::Bad("its token is not good by `[bearer]`"));
                }
                format!("is not good: {}", fault.as_str())
            }
        };
        let place = printable(place.as_bytes(), LONGEST_SHOWN);
        found.tokens.push(format!("by `[bearer]` the token of {place} {said}"));
    }

    fn report(&self) -> Report<'_> {
        let known = Known {
            rules: &self.login.rules,
            sealed: &self.config.identity.seal_cookies,
            cleared: &self.config.logout.clear_cookies,
            believes: self.config.bearer.is_some(),
        };
        Report { known, hidden: &self.hidden }
    }

    fn show(&mut self, request: &str, answer: &Answer) -> Seen {
        self.hidden.add_answer(&answer.headers, answer.body.as_deref().unwrap_or_default());
        let body = answer.body.as_deref().map_err(String::as_str);
        let seen = self.report().answer(request, answer.status, &answer.headers, body);
        self.say(format_args!("{}", seen.lines()));
        seen
    }

    /// For people, as it happens.
    fn say(&self, line: std::fmt::Arguments<'_>) {
        if !self.json {
            say(line);
        }
    }

    fn say_all(&self, found: &Found) {
        self.say(format_args!("\n{}", self.report().conclusion(&found.conclusion)));
        for line in &found.tokens {
            self.say(format_args!("  {line}"));
        }
        if self.config.tenants.is_some() && found.conclusion.is_session() {
            self.say(format_args!("  (The gateway would ask `tenants.verify`, too, which may name another tenant, or one at all; that was not tried.)"));
        }
        let offers = found.offers.lines();
        if !offers.is_empty() {
            self.say(format_args!("\nWhat the answer may name, the likeliest first:\n{offers}"));
        }
        if !found.advice.is_empty() {
            self.say(format_args!("\nTo consider:"));
        }
        for advice in &found.advice {
            self.say(format_args!("  {advice}"));
        }
    }

    fn print_json(&self, found: &Found, wrong: Option<&str>) {
        if !self.json {
            return;
        }
        say_json(&json!({
            "answers": found.seen,
            "session": found.conclusion.is_session(),
            "conclusion": self.report().conclusion(&found.conclusion),
            "candidates": found.offers.candidates,
            "memberships": found.offers.memberships,
            "tokens": found.tokens,
            "advice": found.advice,
            "wrong_password": wrong,
        }));
    }

    /// What a client would have sent, as far as the gateway lets it through.
    fn client_headers(&self, options: &ProbeOptions) -> NotedHeaders {
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
        ask_for_what_can_be_read(&mut headers);
        headers
    }

    async fn send(
        &self,
        method: Method,
        target: &Target,
        headers: NotedHeaders,
        body: Bytes,
        max: usize,
    ) -> Result<Answer, String> {
        let scheme = self.config.server.public_url.scheme();
        let head = Head { method: &method, target, host: &self.host, scheme, headers };
        let (address, name) = (HeaderValue::from_static("127.0.0.1"), HeaderValue::from_static("probe-login"));
        let sender = Sender { address: &address, request_id: &name, via: &name };
        let permit = permit_login(&self.route);
        let mut request =
            without_body(self.config, &permit, &self.settings.host, head, sender).map_err(|error| error.to_string())?;
        if !body.is_empty() {
            *request.body_mut() = RequestBody::Full(body);
        }
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
    Upstream::new(settings, &clock, &Unobserved)
}

/// The host that browsers send, of `server.public_url`.
fn public_host(config: &Config) -> Option<RequestHost> {
    let url = config.server.public_url.to_string();
    RequestHost::parse(url.split_once("://")?.1)
}
