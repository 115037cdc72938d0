"""The proxies that are compared: their configurations, and how each is started.

Each is tuned as its own documentation advises: connections to the backend are kept, no access log, one process on one
core (Apache: one with many threads). What they do beside passing on is in their names.
"""

import contextlib
import http.client
import http.cookiejar
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing
import urllib.request

import access_tokens

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "demo"))
import places

PROXY_CORE, LOAD_CORE = "0", "1"
DIRECT, NGINX, HAPROXY, PINGORA, LUA, APACHE = (
    "no proxy", "nginx, plain proxy", "HAProxy, plain proxy", "pingora, bare proxy", "nginx + Lua + Redis session check",
    "Apache mod_auth_openidc + Redis",
)
NEEDED = {"nginx": "nginx-light", "redis-server": "redis-server", "wrk": "wrk", "h2load": "nghttp2-client",
          "taskset": "util-linux", "pgrep": "procps"}
LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
MODULES = pathlib.Path("/usr/lib/nginx/modules")
APACHE_NEEDS = ("mpm_event", "authn_core", "authz_core", "authz_user", "auth_openidc", "proxy", "proxy_http")
APACHE_MODULES = pathlib.Path("/usr/lib/apache2/modules")

NGINX_HEAD = """
{modules}
worker_processes 1; daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {dir}/{name}-body; proxy_temp_path {dir}/{name}-proxy; fastcgi_temp_path {dir}/{name}-fastcgi;
  uwsgi_temp_path {dir}/{name}-uwsgi; scgi_temp_path {dir}/{name}-scgi;
"""

# A text in nginx's configuration has at most 4 KiB, a variable's repetitions have not.
BACKEND = NGINX_HEAD + """
  map 1 $kib {{ default "{small}"; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /api/login {{ default_type application/json; return 200 '{{"user":{{"customer_id":42,"user_id":7}},"access_token":"{token}"}}'; }}
    location ~ /large$ {{ default_type text/plain; return 200 "{large}"; }}
    location / {{ default_type text/plain; return 200 "$kib"; }}
  }}
}}
"""

# Lets in who says who they are, and nobody else.
USERS = NGINX_HEAD + """
  server {{
    listen 127.0.0.1:{port};
    location = /api/login {{
      default_type application/json;
      if ($arg_user) {{ return 200 '{{"user":{{"customer_id":42,"user_id":"$arg_user"}}}}'; }}
      return 401 '{{}}';
    }}
    location / {{ return 200 "x"; }}
  }}
}}
"""

PLAIN = NGINX_HEAD + """
  upstream app {{ server 127.0.0.1:{backend}; keepalive 128; keepalive_requests 1000000000; }}
  proxy_buffers 16 8k;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen 127.0.0.1:{tls} ssl http2 backlog=4096; http2_max_requests 1000000000;
    ssl_certificate {dir}/tls.crt; ssl_certificate_key {dir}/tls.key;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Customer-ID 42;
    }}
  }}
}}
"""

# What teams script themselves: one look-up and one renewal in one round trip, the record decoded, a header set.
LUA_CHECK = NGINX_HEAD + """
  upstream app {{ server 127.0.0.1:{backend}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      access_by_lua_block {{
        local redis, cjson = require "nginx.redis", require "cjson.safe"
        local token = ngx.var.cookie_session
        if not token then return ngx.exit(401) end
        local store = redis:new()
        store:set_timeout(1000)
        if not store:connect("127.0.0.1", {redis}) then return ngx.exit(503) end
        local key = "lua:" .. token
        store:init_pipeline()
        store:get(key)
        store:expire(key, 1800)
        local found = store:commit_pipeline()
        if not found then return ngx.exit(503) end
        store:set_keepalive(60000, 128)
        local record = type(found[1]) == "string" and cjson.decode(found[1])
        if not record then return ngx.exit(401) end
        ngx.req.set_header("X-Customer-ID", record.tenant)
        ngx.req.set_header("X-User-ID", record.user)
      }}
      proxy_pass http://app; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host;
    }}
  }}
}}
"""

HAPROXY_PLAIN = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 5s
  http-reuse always
frontend in
  bind 127.0.0.1:{port}
  default_backend app
backend app
  http-request set-header X-Customer-ID 42
  server app 127.0.0.1:{backend} pool-max-conn 128
"""

# The signature of each request's token is verified anew, and when it ends; two claims become headers.
HAPROXY_JWT = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 5s
  timeout http-keep-alive 600s
frontend in
  bind 127.0.0.1:{port} backlog 4096
  http-request set-var(txn.token) http_auth_bearer
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str {algorithm} }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify({algorithm},"{pem}") -m int 1 }}
  http-request set-var(txn.now) date()
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request set-header X-Customer-ID %[var(txn.token),jwt_payload_query('$.org_id')]
  http-request set-header X-User-ID %[var(txn.token),jwt_payload_query('$.sub')]
  default_backend app
backend app
  server app 127.0.0.1:{backend} pool-max-conn 128
"""

# Sessions in Redis, encrypted, as it is without further settings; each is renewed once a minute. With no more threads than
# connections it would close kept ones while it is busy. `User` and `Group` count only where root starts it.
APACHE_OPENIDC = """
{modules}
ServerName 127.0.0.1
PidFile {dir}/{name}.pid
ErrorLog {dir}/{name}.log
DefaultRuntimeDir {dir}
User www-data
Group www-data
Listen 127.0.0.1:{port}
ListenBacklog 4096
StartServers 1
ServerLimit 1
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 256
KeepAliveTimeout 600
MaxKeepAliveRequests 0
OIDCProviderMetadataURL http://127.0.0.1:{provider}/.well-known/openid-configuration
OIDCClientID {client}
OIDCClientSecret {secret}
OIDCIDTokenSignedResponseAlg HS256
OIDCRedirectURI http://127.0.0.1:{port}/callback
OIDCCryptoPassphrase {passphrase}
OIDCSessionType server-cache
OIDCSessionInactivityTimeout 1800
OIDCCacheType redis
OIDCRedisCacheServer 127.0.0.1:{redis}
ProxyPreserveHost On
ProxyPass /callback !
ProxyPass / http://127.0.0.1:{backend}/ keepalive=On
<Location />
  AuthType openid-connect
  Require valid-user
</Location>
"""

GATEWAY = """
[server]
mode = "development"
listen = "127.0.0.1:{port}"
public_url = "{scheme}://127.0.0.1:{port}"
workers = 1
max_connections_per_address = 4096
{tls}
[upstream]
url = "http://127.0.0.1:{backend}"
keepalive = "{keepalive}"
[store]
{store}
[login]
path = "/api/login"
{login}
[[routes]]
match = ["/public/*"]
auth = "public"
[admin]
listen = "127.0.0.1:{admin}"
[audit]
file = "{dir}/audit-{port}.jsonl"
[telemetry]
level = "warn"
{more}
"""


FROM_THE_ANSWER = 'tenant = ["/user/customer_id"]\nuser = ["/user/user_id"]'
FROM_THE_TOKEN = 'capture = "jwt"\ntenant = ["/org_id"]\nuser = ["/sub"]'


class Peer(typing.NamedTuple):
    """Something that answers: its process, where it listens, and what it is asked."""

    pid: int
    port: int
    path: str
    headers: list
    redis: int = 0
    tls: int = 0
    cluster: tuple = ()


class Run:
    """Processes that end with it."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = []

    def start(self, core, *command):
        log = open(self.directory / "processes.log", "ab")
        process = subprocess.Popen(["taskset", "-c", core, *map(str, command)], stdout=log, stderr=log)
        self.processes.append(process)
        return process.pid

    def end(self, pid):
        """Ends one of them at once."""
        process = next(process for process in self.processes if process.pid == pid)
        process.kill()
        process.wait()
        self.processes.remove(process)

    def configured(self, name, text, **values):
        """Writes a configuration, and answers its path and the port in it."""
        port = values.pop("port", None) or free_port()
        path = self.directory / f"{name}.conf"
        modules = values.pop("modules", "")
        path.write_text(text.format(dir=self.directory, name=name, port=port, modules=modules, **values))
        return path, port

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port():
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def wait_ready(port):
    for _ in range(200):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    sys.exit(f"the gateway on port {port} does not become ready")


def logins(port, count):
    """The cookies of so many new sessions, made over one connection."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        for _ in range(count):
            connection.request("POST", "/api/login", "{}", {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            cookie = answer.getheader("Set-Cookie")
            if not cookie:
                sys.exit(f"the login on port {port} made no session: {answer.status}")
            yield cookie.split(";")[0]


def login(port):
    return next(logins(port, 1))


def start(run, binaries, wanted):
    """Starts the backend, Redis and those of the peers whose name has one of the `wanted` texts, and plain nginx."""
    chosen = lambda name: not wanted or any(text in name for text in wanted)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    run.directory / "tls.key", "-out", run.directory / "tls.crt"], check=True, capture_output=True)
    config, backend = run.configured("backend", BACKEND, small="x" * 1024, large="$kib" * 64,
                                     token=access_tokens.of_an_app())
    peers = {DIRECT: Peer(run.start(LOAD_CORE, "nginx", "-c", config), backend, "/x", [])}
    wait_for(backend)
    redis = free_port()
    run.start(LOAD_CORE, "redis-server", "--port", redis, "--save", "", "--appendonly", "no", "--dir", run.directory)
    wait_for(redis)

    tls = free_port()
    config, port = run.configured("nginx", PLAIN, backend=backend, tls=tls)
    peers[NGINX] = Peer(run.start(PROXY_CORE, "nginx", "-c", config), port, "/x", [], tls=tls)
    if chosen(HAPROXY) and shutil.which("haproxy"):
        config, port = run.configured("haproxy", HAPROXY_PLAIN, backend=backend)
        peers[HAPROXY] = Peer(run.start(PROXY_CORE, "haproxy", "-db", "-f", config), port, "/x", [])
    if chosen(PINGORA) and (binary := pingora()):
        port = free_port()
        pid = run.start(PROXY_CORE, binary, f"127.0.0.1:{port}", f"127.0.0.1:{backend}")
        peers[PINGORA] = Peer(pid, port, "/x", [])
    if chosen(LUA) and all((MODULES / module).exists() for module in LUA_MODULES):
        modules = "\n".join(f"load_module {MODULES / module};" for module in LUA_MODULES)
        config, port = run.configured("lua", LUA_CHECK, backend=backend, redis=redis, modules=modules)
        record = '{"tenant":"42","user":"7","role":"user","created":1700000000,"expires":1900000000}'
        token = "Zm9yIHRoZSBiZW5jaG1hcms_MTIzNDU2Nzg5MDEyMzQ1"
        subprocess.run(["redis-cli", "-p", str(redis), "SET", f"lua:{token}", record, "EX", "1800"], check=True, capture_output=True)
        peers[LUA] = Peer(run.start(PROXY_CORE, "nginx", "-c", config), port, "/x", [f"Cookie: session={token}"], redis)
    if chosen(APACHE) and shutil.which("apache2") and all(module.exists() for module in apache_modules().values()):
        peers[APACHE] = apache(run, backend, redis)
    for peer in peers.values():
        wait_for(peer.port)
    for number, (name, binary) in enumerate(binaries.items()):
        peers |= gateways(run, name, binary, number, backend, redis, chosen)
    return peers


def cluster(run):
    """Three masters of Redis with a replica each: their ports, once all of them agree."""
    ports = [free_port() for _ in range(6)]
    for port in ports:
        run.start(LOAD_CORE, "redis-server", "--port", port, "--cluster-enabled", "yes", "--cluster-port", free_port(),
                  "--cluster-config-file", run.directory / f"nodes-{port}.conf", "--save", "", "--appendonly", "no",
                  "--dir", run.directory)
    for port in ports:
        wait_for(port)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    subprocess.run(["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"], check=True,
                   capture_output=True)
    asked = lambda port, *command: subprocess.run(["redis-cli", "-p", str(port), *command], capture_output=True, text=True).stdout
    follows = lambda port: "role:master" in (info := asked(port, "INFO", "replication")) or "link_status:up" in info
    for _ in range(200):
        if all("cluster_state:ok" in asked(port, "CLUSTER", "INFO") and follows(port) for port in ports):
            return tuple(ports)
        time.sleep(0.1)
    sys.exit("the nodes of the cluster do not come to agree")


def in_redis(redis, number):
    """Where the gateways of a build have their sessions in Redis."""
    return f'redis = "redis://127.0.0.1:{redis}/0"\nprefix = "bench{number}:"'


def gateways(run, name, binary, number, backend, redis, chosen):
    peers = {}
    stores = {
        "embedded": (f'embedded = "{run.directory}/sessions-{number}.redb"', 0),
        "Redis": (in_redis(redis, number), redis),
        "Redis, no cache": (f'redis = "redis://127.0.0.1:{redis}/0"\nprefix = "bare{number}:"\ncache_entries = "off"', redis),
    }
    for store, (line, uses) in stores.items():
        public, session = f"{name}, public route", f"{name}, session, {store}"
        if not chosen(session) and not (store == "embedded" and chosen(public)):
            continue
        port, pid = gateway(run, binary, f"{store.replace(', ', '-').replace(' ', '-')}-{number}", backend, line)
        # As a legacy page sends it: beside the cookie, its own idea of the tenant, which is the right one.
        headers = ["X-Customer-ID: 42"]
        if store == "embedded" and chosen(public):
            peers[public] = Peer(pid, port, "/public/x", headers)
        if chosen(session):
            peers[session] = Peer(pid, port, "/x", [f"Cookie: {login(port)}", *headers], uses)
    monitored = f"{name}, session, Redis, monitoring"
    if chosen(monitored):
        port, pid = watched(run, binary, f"watched-{number}", backend, in_redis(redis, f"watched-{number}-"))
        peers[monitored] = Peer(pid, port, "/x", [f"Cookie: {login(port)}", "X-Customer-ID: 42"], redis)
    clustered = f"{name}, session, Redis Cluster"
    if chosen(clustered):
        nodes = cluster(run)
        line = f'redis = "cluster:[{",".join(f"127.0.0.1:{node}" for node in nodes)}]"'
        port, pid = gateway(run, binary, f"cluster-{number}", backend, line)
        peers[clustered] = Peer(pid, port, "/x", [f"Cookie: {login(port)}", "X-Customer-ID: 42"], cluster=nodes)
    dialling = f"{name}, public route, keepalive off"
    if chosen(dialling):
        line = f'embedded = "{run.directory}/dialling-{number}.redb"'
        port, pid = gateway(run, binary, f"dialling-{number}", backend, line, keepalive="off")
        peers[dialling] = Peer(pid, port, "/public/x", ["X-Customer-ID: 42"])
    return peers


def watched(run, binary, name, backend, store, server=""):
    """A gateway with each rule of the monitoring in force; the limit of calls is where no load gets to."""
    (run.directory / "places.mmdb").write_bytes(places.database(places.PLACES, int(time.time())))
    more = (f'[secrets]\nkey = "{secrets.token_urlsafe(32)}"\n[monitor]\nmode = "enforce"\napi = ["/*"]\n'
            f'[monitor.calls]\ncount = 1000000\n[monitor.geo]\ncity = "{run.directory}/places.mmdb"\n')
    return gateway(run, binary, name, backend, store, more=more, server=server)


def redis_of(peers):
    """Where the Redis of the run listens."""
    return next(peer.redis for peer in peers.values() if peer.redis)


def gateway(run, binary, name, backend, store, tls=False, keepalive="60s", more="", login=FROM_THE_ANSWER, server=""):
    line = f'tls = {{ cert = "{run.directory}/tls.crt", key = "{run.directory}/tls.key" }}' if tls else ""
    scheme = "https" if tls else "http"
    config, port = run.configured(name, GATEWAY, backend=backend, store=store, admin=free_port(), tls=f"{line}\n{server}",
                                  scheme=scheme, keepalive=keepalive, more=more, login=login)
    pid = run.start(PROXY_CORE, binary, "serve", "--config", config)
    wait_for(port)
    if not tls:
        wait_ready(port)
    return port, pid


def apache_modules():
    return {name: APACHE_MODULES / f"mod_{name}.so" for name in APACHE_NEEDS}


def apache(run, backend, redis):
    """Apache, its OpenID provider, and a session that a login through both of them made."""
    provider, client, secret = free_port(), "bench", secrets.token_hex(32)
    run.start(LOAD_CORE, sys.executable, HERE / "provider.py", provider, client, secret)
    wait_for(provider)
    modules = "\n".join(f"LoadModule {name}_module {path}" for name, path in apache_modules().items())
    config, port = run.configured("apache", APACHE_OPENIDC, backend=backend, redis=redis, provider=provider, client=client,
                                  secret=secret, passphrase=secrets.token_hex(32), modules=modules)
    pid = run.start(PROXY_CORE, "apache2", "-f", config, "-DFOREGROUND")
    wait_for(port)
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(jar))
    # To the provider, back with a code, and on to what was asked for. Whoever takes no HTML is told 401 at once.
    page = urllib.request.Request(f"http://127.0.0.1:{port}/x", headers={"Accept": "text/html"})
    with browser.open(page, timeout=10) as answer:
        answer.read()
    cookie = next((f"{cookie.name}={cookie.value}" for cookie in jar if cookie.name == "mod_auth_openidc_session"), None)
    if not cookie:
        sys.exit("the login at Apache made no session")
    return Peer(pid, port, "/x", [f"Cookie: {cookie}"], redis)


def pingora():
    """The bare pingora proxy, built when there is a toolchain for it."""
    crate = HERE / "pingora"
    built = subprocess.run(["cargo", "build", "--release", "--locked"], cwd=crate)
    return crate / "target/release/bare-pingora" if built.returncode == 0 else None
