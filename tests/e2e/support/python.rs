//! The demo's Flask and Django apps under a real gunicorn, one of each for the whole test binary.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::backend::{Backend, JSON_LOGIN};
use super::http::Wire;
use super::ports::{free_port, local};
use super::process::Process;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// For the Django app: a form login, captured by asking the app who came in.
const FORM_LOGIN: &str = r#"
    [login]
    path = "/accounts/login/"
    capture = "whoami"
    whoami = { path = "/api/me", tenant = "/org/id", user = "/id" }
    failure = ["200"]
    login_url = "/accounts/login/"
    [logout]
    path = "/accounts/logout/"
    clear_cookies = ["sessionid"]
    [[routes]]
    match = ["/api/health"]
    auth = "public"
"#;

/// A Python app under gunicorn.
pub struct App {
    address: SocketAddr,
    settings: &'static str,
    tls: bool,
    _process: Process,
}

impl App {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Backend for App {
    fn url(&self) -> String {
        if self.tls { format!("https://localhost:{}", self.address.port()) } else { format!("http://{}", self.address) }
    }

    fn settings(&self) -> &'static str {
        self.settings
    }
}

/// The legacy Flask app.
pub fn flask() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| start("demo.flask_app:app", JSON_LOGIN, Path::new(""), None))
}

/// The legacy Flask app once more, at `https://localhost`, with `name.crt` and `name.key` of a directory.
pub fn flask_over_tls(directory: &Path, name: &str) -> App {
    start("demo.flask_app:app", JSON_LOGIN, Path::new(""), Some(&directory.join(name)))
}

/// An app that lets data out, refuses what is for admins, and changes passwords.
pub fn acting_app() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| start("tests.python.acting_app:app", JSON_LOGIN, Path::new(""), None))
}

/// An app with Flask-Login: a session and a remember cookie of its own.
pub fn flask_login() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| start("tests.python.flask_login_app:app", JSON_LOGIN, Path::new(""), None))
}

/// An app with Flask-Session, whose sessions are kept at the server.
pub fn flask_session() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flask-session");
        let _first_run = std::fs::remove_dir_all(&folder);
        start("tests.python.flask_session_app:app", JSON_LOGIN, &folder, None)
    })
}

/// A Django site with its admin and an API with SimpleJWT, with a database of its own.
pub fn django_site() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let database = made_by("tests.python.django_site", "django-site.sqlite3");
        start("tests.python.django_site:application", FORM_LOGIN, &database, None)
    })
}

/// The Django app whose accounts may have no organisation yet, with a database of its own.
pub fn accounts() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let database = made_by("tests.python.tenants_app", "tenants.sqlite3");
        start("tests.python.tenants_app:application", "", &database, None)
    })
}

/// The legacy Django app, with a database of its own.
pub fn django() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let database = made_by("demo.django_app.prepare", "django.sqlite3");
        start("demo.django_app.wsgi:application", FORM_LOGIN, &database, None)
    })
}

/// The Flask app whose users come in by links.
pub fn passwordless() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| start("tests.python.passwordless_app:app", "", Path::new(""), None))
}

/// The Flask app whose users belong to several organisations, with its React front end and a database of its own.
pub fn membership() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let database = Path::new(env!("CARGO_TARGET_TMPDIR")).join("membership.sqlite3");
        let _first_run = std::fs::remove_file(&database);
        start("tests.python.membership_app:app", JSON_LOGIN, &database, None)
    })
}

/// The Django app whose login pages send those away whom they know, with a database of its own.
pub fn django_admin() -> &'static App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let database = made_by("tests.python.admin_app", "admin.sqlite3");
        start("tests.python.admin_app:application", "", &database, None)
    })
}

/// The database that a module makes anew.
fn made_by(module: &str, name: &str) -> PathBuf {
    made_with(module, name, &[])
}

/// The same, with further settings in the environment.
fn made_with(module: &str, name: &str, settings: &[(&str, &str)]) -> PathBuf {
    let database = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _first_run = std::fs::remove_file(&database);
    let made = Command::new(python("python"))
        .args(["-m", module])
        .current_dir(ROOT)
        .env("DEMO_DJANGO_DB", &database)
        .envs(settings.iter().copied())
        .output()
        .expect("python starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    database
}

/// What the apps with tokens sign them with, by HS256.
pub const JWT_SECRET: &str = "kY3v0bq8Zr5mT1xW7nC4uJ9sL2dG6hPaEo";

/// The Flask app with Flask-JWT-Extended, whose access tokens live for so many seconds, with a database of its own.
pub fn flask_jwt(seconds: u32) -> App {
    let database = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("flask-jwt-{seconds}.sqlite3"));
    let _first_run = std::fs::remove_file(&database);
    let [app, life] = ["tests.python.flask_jwt_app:app".to_owned(), seconds.to_string()];
    with_tokens(gunicorn(&app, &database), &app, &life)
}

/// The same of Django REST framework and SimpleJWT, which rotate refresh tokens and refuse those that were used.
pub fn simplejwt(seconds: u32) -> App {
    let life = seconds.to_string();
    let settings = [("JWT_SECRET", JWT_SECRET), ("JWT_SECONDS", &*life)];
    let database = made_with("tests.python.simplejwt_app", &format!("simplejwt-{seconds}.sqlite3"), &settings);
    let app = "tests.python.simplejwt_app:application";
    with_tokens(gunicorn(app, &database), app, &life)
}

/// The same of FastAPI and python-jose, under uvicorn.
pub fn fastapi_jose(seconds: u32) -> App {
    let (address, app) = (local(free_port()), "tests.python.fastapi_jose_app:app");
    let mut command = Command::new(python("uvicorn"));
    command.args(["--log-level", "warning", "--host", "127.0.0.1", "--port", &address.port().to_string(), app]);
    with_tokens((address, command), app, &seconds.to_string())
}

fn with_tokens((address, mut command): (SocketAddr, Command), app: &str, life: &str) -> App {
    command.current_dir(ROOT).env("JWT_SECRET", JWT_SECRET).env("JWT_SECONDS", life);
    let mut process = Process::spawn(&mut command);
    process.wait_ready(app, || is_healthy(address));
    App { address, settings: "", tls: false, _process: process }
}

/// A tool of the Python environment.
pub fn python(tool: &str) -> PathBuf {
    let venv =
        std::env::var_os("SESSION_GATEWAY_TEST_VENV").map_or_else(|| Path::new(ROOT).join(".venv"), PathBuf::from);
    let tool = venv.join("bin").join(tool);
    assert!(tool.exists(), "{} is missing: run scripts/setup test", tool.display());
    tool
}

fn start(app: &str, settings: &'static str, database: &Path, tls: Option<&Path>) -> App {
    let (address, mut command) = gunicorn(app, database);
    if let Some(files) = tls {
        command.arg("--certfile").arg(files.with_extension("crt")).arg("--keyfile").arg(files.with_extension("key"));
    }
    let mut process = Process::spawn(&mut command);
    if tls.is_some() {
        process.wait_ready(app, || Wire::try_connect(address).is_ok());
        return App { address, settings, tls: true, _process: process };
    }
    process.wait_ready(app, || is_healthy(address));
    App { address, settings, tls: false, _process: process }
}

/// gunicorn for an app, and where it will listen.
fn gunicorn(app: &str, database: &Path) -> (SocketAddr, Command) {
    let address = local(free_port());
    let mut command = Command::new(python("gunicorn"));
    command.args(["--worker-class", "sync", "--workers", "2", "--no-control-socket", "--bind", &address.to_string()]);
    command.arg(app).current_dir(ROOT).env("DEMO_DJANGO_DB", database).env("TEST_APP_DATA", database);
    (address, command)
}

fn is_healthy(address: SocketAddr) -> bool {
    let request = "GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    Wire::try_connect(address)
        .and_then(|mut wire| wire.try_send(request).and_then(|()| wire.try_receive("GET")))
        .is_ok_and(|response| response.status == 200)
}
