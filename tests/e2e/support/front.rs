//! nginx and HAProxy in front of gateways, each with a configuration of `deploy/` in which nothing but addresses, names
//! and files is replaced.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::curl::Curl;
use super::gateway::write_certificate;
use super::ports::{free_port, local};
use super::process::Process;
use super::scratch;
use super::wait::wait_until;

/// What the configurations of `deploy/` call the site.
const NAME: &str = "app.example.com";

/// A proxy being described: a configuration, and what of it is to be replaced.
pub struct Builder {
    program: &'static str,
    text: String,
    address: SocketAddr,
    scratch: TempDir,
}

/// A proxy that runs.
pub struct Front {
    address: SocketAddr,
    /// Where it speaks plain HTTP, where it speaks both.
    plain: Option<SocketAddr>,
    scratch: TempDir,
    process: Process,
}

/// nginx with a file of `deploy/nginx`.
pub fn nginx(file: &str) -> Builder {
    Builder::new("nginx", file)
}

/// HAProxy with a file of `deploy/haproxy`.
pub fn haproxy(file: &str) -> Builder {
    Builder::new("haproxy", file)
}

/// nginx with a site of our own, for what it does by itself: `server` is what its server has beside the addresses.
pub fn nginx_alone(server: &str) -> Front {
    let (plain, address, scratch) = (local(free_port()), local(free_port()), scratch());
    write_certificate(scratch.path(), NAME, &["localhost"]);
    let files = scratch.path().join(NAME);
    let files = files.display();
    let text = format!(
        "server {{\nlisten {plain};\nlisten {address} ssl http2;\nssl_certificate {files}.crt;\n\
         ssl_certificate_key {files}.key;\n{server}\n}}\n"
    );
    let mut process = Process::spawn(&mut command("nginx", &text, &scratch));
    process.wait_ready("nginx", || TcpStream::connect(address).is_ok());
    Front { address, plain: Some(plain), scratch, process }
}

impl Builder {
    fn new(program: &'static str, file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(program).join(file);
        let text = std::fs::read_to_string(&path).expect("a configuration that is shipped");
        let (address, scratch) = (local(free_port()), scratch());
        let text = text.replace(&format!("/etc/{program}/tls"), &scratch.path().display().to_string());
        write_certificate(scratch.path(), NAME, &["localhost"]);
        let read = |ending: &str| std::fs::read(scratch.path().join(format!("{NAME}.{ending}"))).expect("just written");
        // HAProxy wants both in one file.
        std::fs::write(scratch.path().join(format!("{NAME}.pem")), [read("crt"), read("key")].concat())
            .expect("a file");
        Self { program, text, address, scratch }
    }

    /// Where it will listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces a piece of the configuration, which must be there.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "no {from:?} in {}", self.text);
        self.text = self.text.replace(from, to);
        self
    }

    /// Takes lines that contain `text` out.
    pub fn without(mut self, text: &str) -> Self {
        assert!(self.text.contains(text), "no {text:?} in {}", self.text);
        self.text = self.text.lines().filter(|line| !line.contains(text)).map(|line| format!("{line}\n")).collect();
        self
    }

    /// Puts a file beside the configuration.
    pub fn with_file(self, name: &str, from: &Path) -> Self {
        std::fs::copy(from, self.scratch.path().join(name)).expect("a copy");
        self
    }

    /// Speaks plain HTTP to its clients.
    pub fn without_tls(self) -> Self {
        match self.program {
            "nginx" => self.replace("listen 443 ssl http2", "listen 443").without("    ssl_"),
            _ => {
                let tls = format!(" ssl crt {}/{NAME}.pem alpn h2,http/1.1", self.scratch.path().display());
                self.replace(&tls, "")
            }
        }
    }

    /// Starts it in front of two gateways, which may be one and the same.
    pub fn start(self, gateways: [SocketAddr; 2]) -> Front {
        let port = if self.text.contains(":8443") { 8443 } else { 8080 };
        let (verb, everywhere) = if self.program == "nginx" { ("listen", "443") } else { ("bind", ":443") };
        let here = format!("{verb} {}", self.address);
        let [one, two] = gateways.map(|address| address.to_string());
        let described = self
            .replace(&format!("{verb} {everywhere}"), &here)
            .replace(&format!("10.0.0.11:{port}"), &one)
            .replace(&format!("10.0.0.12:{port}"), &two);
        let Builder { program, text, address, scratch } = described;
        // The certificate keeps its name as a file; the rest is the site's.
        let text = text.replace(NAME, "localhost").replace("/localhost.", &format!("/{NAME}."));
        let mut process = Process::spawn(&mut command(program, &text, &scratch));
        process.wait_ready(program, || TcpStream::connect(address).is_ok());
        Front { address, plain: None, scratch, process }
    }
}

fn command(program: &str, text: &str, scratch: &TempDir) -> Command {
    std::fs::write(scratch.path().join("site"), text).expect("the scratch directory takes a file");
    let mut command = Command::new(find(program));
    command.current_dir(scratch.path());
    if program == "nginx" {
        let main = scratch.path().join("nginx.conf");
        std::fs::write(&main, around(text, scratch.path())).expect("the scratch directory takes a file");
        command.args(["-e", "stderr", "-c"]).arg(main);
    } else {
        command.args(["-db", "-f", "site"]);
    }
    command
}

/// What the distribution's nginx.conf has around such a file.
fn around(text: &str, scratch: &Path) -> String {
    let here = scratch.display();
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let site = if text.contains("\nstream {") {
        format!("include {here}/site;\n")
    } else {
        let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders = folders.map(|name| format!("{name}_temp_path {here}/{name};\n")).concat();
        format!("http {{\naccess_log off;\n{folders}include {here}/site;\n}}\n")
    };
    format!(
        "{user}daemon off;\nworker_processes 2;\npid {here}/nginx.pid;\nerror_log stderr;\n\
         include /etc/nginx/modules-enabled/*.conf;\nevents {{}}\n{site}"
    )
}

/// A server of the distribution; only root has their folder in the path.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(program)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{program} is missing: run scripts/setup test"))
}

impl Front {
    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks plain HTTP beside TLS.
    pub fn plain(&self) -> SocketAddr {
        self.plain.expect("it speaks both")
    }

    /// Waits for a line of its log.
    pub fn wait_log(&self, text: &str) {
        wait_until(&format!("{text:?} from the proxy"), || {
            self.process.lines().into_iter().find(|line| line.contains(text)).map(drop)
        });
    }

    /// The certificate that clients see, unless TLS passes through.
    pub fn certificate(&self) -> PathBuf {
        self.scratch.path().join(format!("{NAME}.crt"))
    }

    /// A call by TLS that accepts this certificate alone.
    pub fn curl(&self, certificate: &Path) -> Curl {
        Curl::to(self.address.port()).with(&["--cacert", certificate.to_str().expect("a path")])
    }
}
