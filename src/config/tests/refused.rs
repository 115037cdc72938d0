//! Every bad value with the line that an operator reads.

use super::{BASE, LOCAL, errors};

/// Added to [`BASE`], so that the first added line is line 4.
#[test]
fn each_bad_value_is_refused_with_what_to_do() {
    for (added, expected) in [
        (
            "server.listen = \"8080\"",
            "t.toml:4: server.listen: \"8080\" is not an address and port; write it as \"127.0.0.1:8080\" or \"[::]:8080\"",
        ),
        ("server.listen = []", "t.toml:4: server.listen: is empty; write at least one address as \"127.0.0.1:8080\""),
        (
            "server.listen = [\"0.0.0.0:1\", \"127.0.0.1:1\"]",
            "t.toml:4: server.listen[1]: 127.0.0.1:1 collides with an earlier address; remove one",
        ),
        (
            "server.max_header = \"2MiB\"",
            "t.toml:4: server.max_header: \"2MiB\" is out of bounds; choose from \"1KiB\" to \"1MiB\"",
        ),
        ("server.max_headers = 7", "t.toml:4: server.max_headers: 7 is out of bounds; choose from 8 to 1000"),
        ("server.max_headers = -1", "t.toml:4: server.max_headers: is negative or too large; write a whole number"),
        (
            "server.header_timeout = \"10\"",
            "t.toml:4: server.header_timeout: \"10\" is not a duration; write one as \"500ms\", \"30s\", \"1h30m\" or \"7d\"",
        ),
        (
            "server.hosts = [\"a.test:80\"]",
            "t.toml:4: server.hosts[0]: \"a.test:80\" is not a host name or address without port, \"*.\" and a name, or \"*\"",
        ),
        (
            "server.trusted_proxies = [\"10.0.0.0/33\"]",
            "t.toml:4: server.trusted_proxies[0]: \"10.0.0.0/33\" is neither a network nor an address; write it as \"10.0.0.0/8\" or \"10.1.2.3\"",
        ),
        (
            "server.allow_headers = [\"x_user_id\"]",
            "t.toml:4: server.allow_headers: \"x_user_id\" is protected; clients may never send it, so remove it",
        ),
        (
            "server.proxy_protocol = \"optional\"",
            "t.toml:4: server.proxy_protocol: is believed from `server.trusted_proxies` only, and there are none; add yours",
        ),
        (
            "server.proxy_protocol = \"v2\"",
            "t.toml:4: server.proxy_protocol: \"v2\" is not known; choose one of \"off\", \"optional\", \"required\"",
        ),
        (
            "server.tls = { cert = \"/nowhere/a\", key = \"b\" }",
            "t.toml:4: server.tls.cert: names a file that cannot be read: No such file or directory (os error 2)",
        ),
        ("server.tls = [{ cert = \"c\" }]", "t.toml:4: server.tls[0].key: is missing; add `key = \"tls.key\"`"),
        ("server.tls = []", "t.toml:4: server.tls: is empty; name a certificate and its key, or remove it"),
        (
            "server.redirect_http = \"80\"",
            "t.toml:4: server.redirect_http: \"80\" is not an address and port; write it as \"127.0.0.1:8080\" or \"[::]:8080\"",
        ),
        (
            "server.redirect_http = \"0.0.0.0:8080\"",
            "t.toml:4: server.redirect_http: 0.0.0.0:8080 collides with an address of `server.listen`; give it its own",
        ),
        ("server.hsts = \"11y\"", "t.toml:4: server.hsts: \"11y\" is out of bounds; choose from \"1s\" to \"10y\""),
        (
            "upstream.rewrite_location = \"no\"",
            "t.toml:4: upstream.rewrite_location: is a string; write true or false, without quotes",
        ),
        (
            "cookie.partitioned = true",
            "t.toml:4: cookie.partitioned: is for apps in the frames of other sites, where browsers send no cookie but one of `same_site = \"none\"`; set that, too, or remove it",
        ),
        ("server.tls = \"tls.crt\"", "t.toml:4: server.tls: is a string; write a table or a list of tables"),
        (
            "upstream.health_path = \"x\"",
            "t.toml:4: upstream.health_path: \"x\" is not a path; write it as \"/api/health\"",
        ),
        (
            "upstream.balance = \"random\"",
            "t.toml:4: upstream.balance: \"random\" is not known; choose one of \"round-robin\", \"least-connections\", \"hash-tenant\"",
        ),
        (
            "upstream.ca = \"ca.pem\"",
            "t.toml:4: upstream.ca: is of no use without an https:// address; write one, or remove it",
        ),
        (
            "upstreams.x = { url = \"https://a\", ca = \"/nowhere/ca.pem\" }",
            "t.toml:4: upstreams.x.ca: names a file that cannot be read: No such file or directory (os error 2)",
        ),
        (
            "upstreams.x = { url = \"https://a\", ca = \"/dev/null\" }",
            "t.toml:4: upstreams.x.ca: \"/dev/null\" holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\")",
        ),
        ("upstream.eject = true", "t.toml:4: upstream.eject: is a boolean; write a table or \"off\""),
        (
            "upstream.eject = { failures = 0 }",
            "t.toml:4: upstream.eject.failures: 0 is out of bounds; choose from 1 to 1000",
        ),
        (
            "upstream.eject = { for = \"2h\" }",
            "t.toml:4: upstream.eject.for: \"2h\" is out of bounds; choose from \"100ms\" to \"1h\"",
        ),
        ("upstream.urls = [\"http://a\"]", "t.toml:4: upstream.urls: stands beside `url`; keep one of the two"),
        (
            "upstreams.x.url = \"http://a/b\"",
            "t.toml:4: upstreams.x.url: \"http://a/b\" has a path; backends get the client's path, so end it after the port",
        ),
        (
            "upstreams.x.url = \"http://me:hidden@a\"",
            "t.toml:4: upstreams.x.url: holds a user or password, which no backend is sent; remove it",
        ),
        ("upstreams.x.urls = []", "t.toml:4: upstreams.x.urls: has 0 addresses; write 1 to 64"),
        (
            "upstreams.default.url = \"http://a\"",
            "t.toml:4: upstreams.default: is the same as `[upstream]`; keep one of the two",
        ),
        ("store.redis = \"redis://a\"", "t.toml:3: store.embedded: stands beside `store.redis`; keep one of the two"),
        ("store.password = \"hidden\"", "t.toml:4: store.password: belongs to `store.redis`; remove it"),
        ("store.journal = \"x\"", "t.toml:4: store.journal: belongs to `store.redis`; remove it"),
        ("store.on_error = \"allow\"", "t.toml:4: store.on_error: \"allow\" is not known; choose one of \"deny\""),
        ("store.ca = \"x\"", "t.toml:4: store.ca: belongs to `store.redis`; remove it"),
        ("store.cache_entries = 5000", "t.toml:4: store.cache_entries: belongs to `store.redis`; remove it"),
        (
            "store.prefix = \"a{b}\"",
            "t.toml:4: store.prefix: \"a{b}\" cannot be a prefix; use up to 64 letters, digits, `:`, `-`, `_` or `.`",
        ),
        (
            "session.idle = \"100ms\"",
            "t.toml:4: session.idle: \"100ms\" is out of bounds; choose from \"1s\" to \"400d\"",
        ),
        (
            "session.absolute = \"off\"",
            "t.toml:4: session.absolute: \"off\" is not a duration; write one as \"500ms\", \"30s\", \"1h30m\" or \"7d\"",
        ),
        (
            "session.max_per_user = { count = 3 }",
            "t.toml:4: session.max_per_user.action: is missing; add `action = \"revoke-oldest\"`",
        ),
        (
            "session.max_per_user = { count = 0, action = \"deny\" }",
            "t.toml:4: session.max_per_user.count: 0 is out of bounds; choose from 1 to 500",
        ),
        (
            "session.no_touch = [\"/a/*/b\"]",
            "t.toml:4: session.no_touch[0]: \"/a/*/b\" has a `*` that is not the whole last segment",
        ),
        ("session.status_path = \"/s/{x}\"", "t.toml:4: session.status_path: \"/s/{x}\" is a pattern; write one path"),
        ("session.expose = \"yes\"", "t.toml:4: session.expose: is a string; write true or false, without quotes"),
        ("cookie.name = \"a b\"", "t.toml:4: cookie.name: \"a b\" is not 1 to 64 letters, digits, `-`, `_` or `.`"),
        (
            "cookie.same_site = \"None\"",
            "t.toml:4: cookie.same_site: \"None\" is not known; choose one of \"strict\", \"lax\", \"none\"",
        ),
        (
            "cors.origins = [\"*\"]",
            "t.toml:4: cors.origins[0]: \"*\" is not an origin; write scheme, host and port alone, as in \"https://app.example.com\" or \"capacitor://localhost\"",
        ),
        (
            "errors.pages = \"/nowhere\"",
            "t.toml:4: errors.pages: /nowhere is not a folder that can be read: No such file or directory (os error 2)",
        ),
        (
            "cors.backend = \"both\"",
            "t.toml:4: cors.backend: \"both\" is not known; choose one of \"leave\", \"replace\"",
        ),
        (
            "cors.backend = \"replace\"",
            "t.toml:4: cors.backend: \"replace\" takes the backend's own headers out and lets nobody read anything; list the origins in `cors.origins`",
        ),
        ("cors.max_age = \"2d\"", "t.toml:4: cors.max_age: \"2d\" is out of bounds; choose from \"0s\" to \"1d\""),
        (
            "identity.user_header = \"x-customer-id\"",
            "t.toml:4: identity.user_header: is the same header as `identity.tenant_header`; give each its own",
        ),
        (
            "identity.tenant_header = \"X-User-Id\"",
            "t.toml:4: identity.tenant_header: is the same header as `identity.user_header`; give each its own",
        ),
        (
            "identity.user_header = \"Host\"",
            "t.toml:4: identity.user_header: \"Host\" has a meaning of its own in HTTP or is set by the gateway; choose another",
        ),
        (
            "identity.user_header = \"X_User\"",
            "t.toml:4: identity.user_header: \"X_User\" cannot be told apart by every backend; use up to 64 letters, digits and `-`",
        ),
        (
            "identity.strip = [\"Content-Type\"]",
            "t.toml:4: identity.strip[0]: \"Content-Type\" has a meaning of its own in HTTP or is set by the gateway; choose another",
        ),
        (
            "identity.query = { a = \"keep\" }",
            "t.toml:4: identity.query.a: \"keep\" is not known; choose one of \"overwrite\", \"set\", \"drop\", \"match\"",
        ),
        (
            "identity.anonymous = \"a,b\"",
            "t.toml:4: identity.anonymous: \"a,b\" has a character other than visible ASCII without comma; write \"omit\" or a tenant",
        ),
        (
            "identity.mode = \"compat\"",
            "t.toml:4: identity.mode: \"compat\" needs an end in production; add `compat_until = \"2027-03-31\"`",
        ),
        (
            "identity = { mode = \"compat\", compat_until = \"soon\" }",
            "t.toml:4: identity.compat_until: \"soon\" is not a date; write it as \"2027-03-31\" or \"2027-03-31T18:00:00Z\"",
        ),
        ("login.path = []", "t.toml:4: login.path: is empty; write the path that logins are sent to"),
        ("login.path = \"login\"", "t.toml:4: login.path: \"login\" does not start with `/`"),
        (
            "login.capture = \"jwt\"",
            "t.toml:4: login: captures tokens (`capture = \"jwt\"`), which needs `secrets.key` or `secrets.key_file`; make a key with `session-gateway keygen`",
        ),
        (
            "login.capture = \"whoami\"",
            "t.toml:4: login.whoami: is missing; add `whoami = { path = \"/api/me\", tenant = \"/org/id\", user = \"/id\" }`",
        ),
        (
            "login = { capture = \"whoami\", whoami = { path = \"/me\", tenant = \"/t\" } }",
            "t.toml:4: login.whoami.user: is missing; add `user = \"/id\"`",
        ),
        (
            "login.tenant = \"customer_id\"",
            "t.toml:4: login.tenant: \"customer_id\" does not begin with a slash, as in \"/user/id\"",
        ),
        ("login.user = []", "t.toml:4: login.user: is empty; write where the answer names it, as in \"/user/id\""),
        (
            "login.failure = [\"401\"]",
            "t.toml:4: login.failure[0]: \"401\" is not a status that could be a success; write one from \"200\" to \"399\"",
        ),
        (
            "login.login_url = \"https://sso.test/\"",
            "t.toml:4: login.login_url: \"https://sso.test/\" is not a path; start it with one `/` and write it percent-encoded",
        ),
        (
            "login.login_url = \"//sso.test\"",
            "t.toml:4: login.login_url: \"//sso.test\" is not a path; start it with one `/` and write it percent-encoded",
        ),
        (
            "logout.path = \"/api/login\"",
            "t.toml:4: logout.path: \"/api/login\" is also `login.path` by default; give each a path of its own",
        ),
        (
            "logout = { path = \"/bye\", all_path = \"/bye/\" }",
            "t.toml:4: logout.all_path: \"/bye/\" is also `logout.path` in line 4; give each a path of its own",
        ),
        (
            "login.path = [\"/l\", \"/l/\"]",
            "t.toml:4: login.path: \"/l/\" is also `login.path` in line 4; give each a path of its own",
        ),
        (
            "session.status_path = \"/healthz\"",
            "t.toml:4: session.status_path: \"/healthz\" is a health endpoint; choose another path",
        ),
        ("logout.clear_cookies = [\"a;b\"]", "t.toml:4: logout.clear_cookies[0]: \"a;b\" is not the name of a cookie"),
        (
            "tenants.attempts = 3",
            "t.toml:4: tenants.verify: is missing; add `verify = \"/api/tenants/verify/{user_id}\"`",
        ),
        ("tenants.verify = \"/t/{user}\"", "t.toml:4: tenants.verify: {user} is not known; use {user_id} and {tenant}"),
        (
            "tenants.verify = \"/t\"",
            "t.toml:4: tenants.verify: \"/t\" has no {user_id} or {tenant}; write where they stand",
        ),
        (
            "tenants = { verify = \"/t/{tenant}\", recheck = \"29s\" }",
            "t.toml:4: tenants.recheck: \"29s\" is out of bounds; choose from \"30s\" to \"1d\"",
        ),
        (
            "tenants = { verify = \"/t/{tenant}\", exists = [] }",
            "t.toml:4: tenants.exists: is empty; write where the answer says true or false, as in \"/exists\"",
        ),
        (
            "tenants = { verify = \"/t/{tenant}\", missing = [200] }",
            "t.toml:4: tenants.missing[0]: \"200\" is no error; write one from \"400\" to \"599\", as in \"404\"",
        ),
        (
            "login.unless = [\"status=otp\"]",
            "t.toml:4: login.unless[0]: \"status=otp\" does not begin with a slash, as in \"/user/id\"",
        ),
        (
            "admin.listen = \"0.0.0.0:8080\"",
            "t.toml:4: admin.listen: 0.0.0.0:8080 collides with 127.0.0.1:8080 of `server.listen`; give operators an address of their own",
        ),
        (
            "admin.token = \"hidden\"",
            "t.toml:4: admin.token: is shorter than 32 bytes; make a strong one with `session-gateway keygen`",
        ),
        (
            "admin.token = \"changeme\"",
            "t.toml:4: admin.token: is a well-known word; make a strong one with `session-gateway keygen`",
        ),
        (
            "admin.token_file = \"/nowhere/at/all\"",
            "t.toml:4: admin.token_file: names a file that cannot be read: No such file or directory (os error 2)",
        ),
        (
            "admin = { token = \"${TOKEN}\", token_file = \"x\" }",
            "t.toml:4: admin.token_file: stands beside `admin.token`; keep one of the two",
        ),
        (
            "admin = { listen = \"192.0.2.1:9090\", token = \"${TOKEN}\" }",
            "t.toml:4: admin.listen: 192.0.2.1:9090 is not loopback, and operators' tokens would cross the network in the clear; set `admin.tls`, or listen on 127.0.0.1",
        ),
        (
            "admin.hosts = [\"a:9090\"]",
            "t.toml:4: admin.hosts[0]: \"a:9090\" is not a host name or address without port, \"*.\" and a name, or \"*\"",
        ),
        ("admin.tls = { cert = \"/nowhere\" }", "t.toml:4: admin.tls.key: is missing; add `key = \"tls.key\"`"),
        (
            "admin.tokens = [{ name = \"a\", token = \"${TOKEN}\" }]",
            "t.toml:4: admin.tokens[0].roles: is missing; add `roles = [\"read\", \"operate\"]`",
        ),
        (
            "admin.tokens = [{ name = \"a\", token = \"${TOKEN}\", roles = [] }]",
            "t.toml:4: admin.tokens[0].roles: is empty; write what it may do, as `roles = [\"read\", \"operate\"]`",
        ),
        (
            "admin.tokens = [{ name = \"a\", token = \"${TOKEN}\", roles = [\"root\"] }]",
            "t.toml:4: admin.tokens[0].roles[0]: \"root\" is not known; choose one of \"read\", \"operate\", \"mint\"",
        ),
        (
            "admin.tokens = [{ name = \"a\", roles = [\"read\"] }]",
            "t.toml:4: admin.tokens[0].token: is missing; add `token_file = \"/run/secrets/ops\"` or `token`",
        ),
        (
            "admin.tokens = [{ token = \"${TOKEN}\", roles = [\"read\"] }]",
            "t.toml:4: admin.tokens[0].name: is missing; add `name = \"ops\"`",
        ),
        (
            "admin.tokens = [{ name = \"a b\", token = \"${TOKEN}\", roles = [\"read\"] }]",
            "t.toml:4: admin.tokens[0].name: \"a b\" is no name; write 1 to 64 letters, digits, `.`, `_`, `-` or `@`",
        ),
        (
            "admin.tokens = [{ name = \"a\", token = \"secret\", roles = [\"read\"] }]",
            "t.toml:4: admin.tokens[0].token: is a well-known word; make a strong one with `session-gateway keygen`",
        ),
        (
            "admin = { token = \"${TOKEN}\", tokens = [{ name = \"admin\", token = \"another-1234567890-1234567890-1234567890\", roles = [\"read\"] }] }",
            "t.toml:4: admin.tokens[0].name: \"admin\" is another token's name; the audit log tells operators apart by it",
        ),
        (
            "admin = { token = \"${TOKEN}\", tokens = [{ name = \"a\", token = \"${TOKEN}\", roles = [\"read\"] }] }",
            "t.toml:4: admin.tokens[0].token: is the token of \"admin\" too; nobody could tell the two apart",
        ),
        (
            "secrets.key = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
            "t.toml:4: secrets.key: is one repeated character; make a strong one with `session-gateway keygen`",
        ),
        ("audit.file = \"\"", "t.toml:4: audit.file: \"\" is not a file's path"),
        (
            "telemetry.level = \"verbose\"",
            "t.toml:4: telemetry.level: \"verbose\" is not known; choose one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
        (
            "admin.listen = \"${UNSET}\"",
            "t.toml:4: admin.listen: names an environment variable that is not set (UNSET); set it, or write `$${` for a literal `${`",
        ),
        (
            "[[events]]\naction = \"revoke-user\"",
            "t.toml:4: events[0].match: is missing; add `match = \"DELETE /admin/organizations/{tenant}\"`",
        ),
        (
            "[[events]]\nmatch = \"/a/{tenant}\"",
            "t.toml:5: events[0].match: \"/a/{tenant}\" has no method; write it as \"DELETE /admin/organizations/{tenant}\"",
        ),
        (
            "[[events]]\nmatch = \"delete /a/{tenant}\"",
            "t.toml:5: events[0].match: \"delete\" is not a method that is forwarded; write GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or name it in `server.methods`",
        ),
        (
            "[[events]]\nmatch = \"DELETE  /a/{tenant}\"",
            "t.toml:5: events[0].match: \" /a/{tenant}\" does not start with `/`",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{tenant}\"\naction = \"revoke-all\"",
            "t.toml:6: events[0].action: \"revoke-all\" is not known; choose one of \"revoke-tenant\", \"suspend-tenant\", \"delete-tenant\", \"restore-tenant\", \"revoke-user\", \"revoke-other-sessions\", \"revoke-session\"",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{_}\"",
            "t.toml:5: events[0].match: \"/a/{_}\" does not say which tenant \"revoke-tenant\" is about; name the segment `{tenant}`, or add `tenant_pointer = \"/data/organization_id\"`",
        ),
        (
            "[[events]]\nmatch = \"POST /a/{tenant}\"\naction = \"revoke-user\"",
            "t.toml:5: events[0].match: has a `{tenant}`, which is read only with an `action` about a tenant, or about a user who is named; write `{_}`",
        ),
        (
            "[[events]]\nmatch = \"DELETE /users/{user_id}\"\naction = \"revoke-user\"",
            "t.toml:5: events[0].match: has a `{user_id}`, which no event knows; write `{tenant}` or `{user}` for whom it is about, or `{_}` for any",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{user}\"\naction = \"revoke-session\"",
            "t.toml:5: events[0].match: has a `{user}`, which is read only with `action = \"revoke-user\"`; write `{_}`",
        ),
        (
            "[[events]]\nmatch = \"POST /a\"\naction = \"revoke-session\"\nuser_pointer = \"/id\"",
            "t.toml:7: events[0].user_pointer: is read only with `action = \"revoke-user\"`; remove it",
        ),
        (
            "[[events]]\nmatch = \"DELETE /users/{user}\"\naction = \"revoke-user\"\nany_tenant = true",
            "t.toml:7: events[0].any_tenant: needs a tenant beside the user, who is one of that tenant's: a `{tenant}` in the path, or `tenant_pointer`",
        ),
        (
            "[[events]]\nmatch = \"POST /a\"\naction = \"suspend-tenant\"",
            "t.toml:5: events[0].match: \"/a\" does not say which tenant \"suspend-tenant\" is about; name the segment `{tenant}`, or add `tenant_pointer = \"/data/organization_id\"`",
        ),
        (
            "[[events]]\nmatch = \"POST /a\"\naction = \"revoke-session\"\ncounts_as = \"login\"",
            "t.toml:7: events[0].counts_as: \"login\" is not known; choose one of \"password_change\"",
        ),
        (
            "[[events]]\nmatch = \"POST /a\"\naction = \"revoke-user\"\ntenant_pointer = \"/id\"",
            "t.toml:7: events[0].tenant_pointer: is read only with an `action` about a tenant, or about a user who is named; remove it",
        ),
        (
            "[[events]]\nmatch = \"POST /a\"\nheader = [\"logout\"]\nany_tenant = true",
            "t.toml:7: events[0].any_tenant: is read only with an `action` about a tenant, or about a user who is named; remove it",
        ),
        (
            "[[events]]\nmatch = \"POST /a\"\nheader = [\"logout\"]\nwhen_pointer = \"/n\"",
            "t.toml:7: events[0].when_pointer: is read only with an `action`; add one, or remove it",
        ),
        (
            "[[events]]\nmatch = \"POST /a\"\nheader = [\"logout\", \"log-out\"]",
            "t.toml:6: events[0].header[1]: \"log-out\" is not known; choose one of \"logout\", \"revoke-user\", \"revoke-other-sessions\", \"revoke-tenant\", \"switch-tenant\"",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{tenant}\"\ncount_pointer = \"n\"",
            "t.toml:6: events[0].count_pointer: \"n\" does not begin with a slash, as in \"/user/id\"",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{tenant}\"\nreason = \"org_delete\"",
            "t.toml:6: events[0].reason: \"org_delete\" is not a reason for which a backend ends sessions; did you mean `org_deleted`?",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{tenant}\"\nreason = \"replaced\"",
            "t.toml:6: events[0].reason: \"replaced\" is not a reason for which a backend ends sessions; choose one of logout, logout_all, revoked, user_revoked, tenant_revoked, org_deleted, org_soft_deleted, user_others_revoked",
        ),
        (
            "[[events]]\nmatch = \"DELETE /a/{tenant}\"\nroles = [\"a b\"]",
            "t.toml:6: events[0].roles[0]: \"a b\" has a character other than visible ASCII without comma",
        ),
        (
            "[[events]]\nmatch = \"GET /a/{tenant}\"\n[[events]]\nmatch = \"HEAD /a/{tenant}/\"",
            "t.toml:7: events[1].match: \"HEAD /a/{tenant}/\" is the same as `GET /a/{tenant}` in line 5, for the same method; merge the two events",
        ),
        (
            "[[events]]\nmatch = \"POST /api/logout\"\naction = \"revoke-user\"",
            "t.toml:5: events[0].match: \"/api/logout\" is `logout.path`, which is no event; choose another path",
        ),
        (
            "[[routes]]\nmatch = \"/open/*\"\nauth = \"public\"\n[[events]]\nmatch = \"POST /open/x\"\naction = \"revoke-user\"",
            "t.toml:8: events[0].match: \"POST /open/x\" takes the public route \"/open/*\", where nobody has a session; give it a route with `auth = \"required\"`",
        ),
        ("[monitor]", "t.toml:4: monitor.mode: is missing; add `mode = \"observe\"`"),
        (
            "[monitor]\nmode = \"enforced\"",
            "t.toml:5: monitor.mode: \"enforced\" is not known; choose one of \"off\", \"observe\", \"enforce\"",
        ),
        (
            "[monitor]\nmode = \"observe\"",
            "t.toml:4: monitor: needs `secrets.key` or `secrets.key_file`: what is counted is known by an HMAC, the same at all gateways; make a key with `session-gateway keygen`",
        ),
        (
            "[monitor]\nmode = \"off\"\ndevice_cookie = \"1h\"",
            "t.toml:6: monitor.device_cookie: \"1h\" is out of bounds; choose from \"1d\" to \"400d\"",
        ),
        (
            "[monitor]\nmode = \"off\"\npath = \"/api/{x}\"",
            "t.toml:6: monitor.path: \"/api/{x}\" is a pattern; write one path",
        ),
        (
            "secrets.key = \"kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s\"\n[monitor]\nmode = \"observe\"\npath = \"/me\"\n[logout]\npath = \"/me/terminate\"",
            "t.toml:9: logout.path: \"/me/terminate\" is also `monitor.path` in line 7; give each a path of its own",
        ),
        (
            "[monitor]\nmode = \"off\"\ntravel = { kmh = 99 }",
            "t.toml:6: monitor.travel.kmh: 99 is out of bounds; choose from 100 to 100000",
        ),
        (
            "[monitor]\nmode = \"off\"\ntravel = { window = \"2d\" }",
            "t.toml:6: monitor.travel.window: \"2d\" is out of bounds; choose from \"1m\" to \"1d\"",
        ),
        (
            "[monitor]\nmode = \"off\"\ntravel = { action = \"lock\" }",
            "t.toml:6: monitor.travel.action: \"lock\" is no action of this rule; choose one of \"record\", \"alert\", \"notify\", \"reauth\", \"terminate\"",
        ),
        (
            "[monitor]\nmode = \"off\"\nlocation_change = { km = 50 }",
            "t.toml:6: monitor.location_change.km: 50 is out of bounds; choose from 100 to 20000",
        ),
        (
            "[monitor]\nmode = \"off\"\nlocation_change = { action = \"reauth\" }",
            "t.toml:6: monitor.location_change.action: \"reauth\" is no action of this rule; choose one of \"record\", \"alert\", \"notify\"",
        ),
        (
            "[monitor]\nmode = \"off\"\nlocations = { km = 30000 }",
            "t.toml:6: monitor.locations.km: 30000 is out of bounds; choose from 100 to 20000",
        ),
        (
            "[monitor]\nmode = \"off\"\nconcurrent = { count = 0 }",
            "t.toml:6: monitor.concurrent.count: 0 is out of bounds; choose from 1 to 1000",
        ),
        (
            "[monitor]\nmode = \"off\"\nconcurrent = { action = \"terminate\" }",
            "t.toml:6: monitor.concurrent.action: \"terminate\" is no action of this rule; choose one of \"record\", \"alert\", \"notify\"",
        ),
        (
            "[monitor]\nmode = \"off\"\nfailed_logins = { count = 0 }",
            "t.toml:6: monitor.failed_logins.count: 0 is out of bounds; choose from 1 to 1000",
        ),
        (
            "[monitor]\nmode = \"off\"\nfailed_logins = { action = [\"lock\", \"throttle\"] }",
            "t.toml:6: monitor.failed_logins.action[1]: \"throttle\" is no action of this rule; choose one of \"record\", \"alert\", \"notify\", \"lock\"",
        ),
        (
            "[monitor]\nmode = \"off\"\nfailed_logins = { enabled = false }\nguessed_login = { count = 4 }",
            "t.toml:7: monitor.guessed_login: needs `monitor.failed_logins`, which counts the failures, and which is not `enabled`; enable it, or set `enabled = false` here, too",
        ),
        (
            "[monitor]\nmode = \"off\"\nguessed_login = { action = \"lock\" }",
            "t.toml:6: monitor.guessed_login.action: \"lock\" is no action of this rule; choose one of \"record\", \"alert\", \"notify\"",
        ),
        (
            "[monitor]\nmode = \"off\"\nfailed_logins = { action = [] }",
            "t.toml:6: monitor.failed_logins.action: is empty; write \"record\" where nothing is to be done but to keep what was found",
        ),
        (
            "[monitor]\nmode = \"off\"\nguessed_login = { window = \"1h\" }",
            "t.toml:6: monitor.guessed_login.window: is longer than `monitor.failed_logins.window`, for which failures are kept; raise that one, or lower this",
        ),
        (
            "[monitor]\nmode = \"off\"\ncalls = { count = 0 }",
            "t.toml:6: monitor.calls.count: 0 is out of bounds; choose from 1 to 1000000",
        ),
        (
            "[monitor]\nmode = \"off\"\ncalls = { window = \"5m\" }",
            "t.toml:6: monitor.calls.window: is no calendar minute, by which calls are counted; write \"1m\", or remove it",
        ),
        (
            "[monitor]\nmode = \"off\"\ncalls = { action = \"lock\" }",
            "t.toml:6: monitor.calls.action: \"lock\" is no action of this rule; choose one of \"record\", \"alert\", \"throttle\", \"reauth\", \"terminate\"",
        ),
        ("[monitor]\nmode = \"off\"\napi = \"api\"", "t.toml:6: monitor.api: \"api\" does not start with `/`"),
        (
            "[alerts]\nfrom = \"a@b.example\"\nhigh.to = []",
            "t.toml:4: alerts.smtp: is missing; add `smtp = \"smtps://alerts@mail.example.com\"`",
        ),
        (
            "[alerts]\nsmtp = \"smtp://me@mail.example.com\"\nfrom = \"a@b.example\"\nhigh.to = [\"a@b.example\"]",
            "t.toml:5: alerts.smtp: names a user without a password; add `smtp_password_file`",
        ),
        (
            "[alerts]\nsmtp = \"smtp://127.0.0.1\"\nsmtp_password = \"x\"\nfrom = \"a@b.example\"\nhigh.to = []",
            "t.toml:6: alerts.smtp_password: is nobody's: `smtp` names no user; write \"smtps://user@host\"",
        ),
        (
            "[alerts]\nsmtp = \"smtp://127.0.0.1\"\nfrom = \"a@b.example\"",
            "t.toml:4: alerts.high: names nobody to tell; add `high.to = [\"ops@example.com\"]`, or `[[alerts.webhooks]]`",
        ),
        (
            "[alerts]\nsmtp = \"smtps://mail.example.com\"\nsmtp_plaintext = true\nfrom = \"a@b.example\"\nhigh.to = []",
            "t.toml:6: alerts.smtp_plaintext: is of no use over `smtps://`, where all is protected; remove it",
        ),
        (
            "login.account = []",
            "t.toml:4: login.account: is empty; write where a login's request names the account, as in \"/email\"",
        ),
        ("[[routes]]\nauth = \"public\"", "t.toml:4: routes[0].match: is missing; add `match = \"/static/*\"`"),
        (
            "[[routes]]\nmatch = \"/a\"\nauht = \"public\"",
            "t.toml:6: routes[0].auht: is not a known key; did you mean `auth`?",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nmethods = [\"get\"]",
            "t.toml:6: routes[0].methods[0]: \"get\" is not a method that is forwarded; write GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or name it in `server.methods`",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nmethods = [\"PROPFIND\"]",
            "t.toml:6: routes[0].methods[0]: \"PROPFIND\" is not a method that is forwarded; write GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, or name it in `server.methods`",
        ),
        ("server.methods = [\"PROPFIND\", \"CONNECT\"]", "t.toml:4: server.methods[1]: \"CONNECT\" is never forwarded"),
        (
            "server.methods = [\"propfind\"]",
            "t.toml:4: server.methods[0]: \"propfind\" is not a method; write its name in capitals, as in \"PROPFIND\"",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nupgrade = [\"h2c\"]",
            "t.toml:6: routes[0].upgrade[0]: \"h2c\" is not the name of a protocol, or is one of HTTP's own, which never pass",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nupgrade = [\"websocket\"]",
            "t.toml:6: routes[0].upgrade[0]: \"websocket\" always passes; leave it out",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nauth = \"public\"\nroles = [\"x\"]",
            "t.toml:7: routes[0].roles: needs `auth = \"required\"`: nobody's role is checked on a public route",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nupstream = \"defualt\"",
            "t.toml:6: routes[0].upstream: there is no upstream \"defualt\"; did you mean `default`?",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\nmode = \"compat\"",
            "t.toml:6: routes[0].mode: \"compat\" needs an end in production; add `compat_until = \"2027-03-31\"`",
        ),
        (
            "[[routes]]\nmatch = \"/a\"\ncompat_until = 2027-03-31",
            "t.toml:6: routes[0].compat_until: has no effect without `mode = \"compat\"`; remove it",
        ),
        (
            "[[routes]]\nmatch = \"/a/{x}\"\n[[routes]]\nmatch = [\n\"/b\",\n\"/a/{y}\"]",
            "t.toml:9: routes[1].match[1]: \"/a/{y}\" is the same as `routes[0].match` in line 5, for the same methods; merge the two routes or give each its own methods",
        ),
        (
            "[[routes]]\nmatch = \"/login\"\nauth = \"required\"",
            "t.toml:5: routes[0].match: \"/login\" is `login.login_url` and would need a session for GET, so nobody could log in; let a route with `auth = \"public\"` have it",
        ),
        (
            "[[routes]]\nmatch = \"/api/login\"\nmethods = [\"GET\"]\nauth = \"public\"",
            "t.toml:5: routes[0].match: \"/api/login\" is `login.path` and would need a session for POST, so nobody could log in; let a route with `auth = \"public\"` have it",
        ),
        ("\"a b\\n\" = 1", "t.toml:4: \"a b\\n\": is not a known key; remove it"),
        (
            "[[routes]]\nmatch = \"/a\"\npath = \"loose\"",
            "t.toml:6: routes[0].path: \"loose\" is not known; choose one of \"strict\", \"lenient\"",
        ),
        ("routes = \"x\"", "t.toml:4: routes: is a string; write a list of tables"),
        ("login.header = 1", "t.toml:4: login.header: is an integer; write a table"),
    ] {
        assert_eq!(errors(&format!("{BASE}{added}\n")), [expected], "{added}");
    }
}

#[test]
fn over_http_what_browsers_would_drop_is_refused() {
    for (added, expected) in [
        (
            "cookie.name = \"__Host-session\"",
            "t.toml:4: cookie.name: \"__Host-session\" would be dropped by browsers: they take such a name only over https; use an https `server.public_url` or another name",
        ),
        (
            "cookie.name = \"__secure-x\"",
            "t.toml:4: cookie.name: \"__secure-x\" would be dropped by browsers: they take such a name only over https; use an https `server.public_url` or another name",
        ),
        (
            "cookie.same_site = \"none\"",
            "t.toml:4: cookie.same_site: \"none\" needs a Secure cookie, and so an https `server.public_url`; use \"lax\" or \"strict\" over http",
        ),
    ] {
        assert_eq!(errors(&format!("{LOCAL}{added}\n")), [expected], "{added}");
    }
}

#[test]
fn production_refuses_http_and_says_how_to_mend_it() {
    assert_eq!(
        errors(&LOCAL.replace("development", "production")),
        ["t.toml:1: server.public_url: is not https, so that browsers would get a cookie that is not Secure; use an \
             https URL, or set `server.mode = \"development\"`"]
    );
}

#[test]
fn a_bad_store_address_is_refused_and_never_shown() {
    for (url, expected) in [
        (
            "sentinel:u:hidden@[a:1]",
            "names no Sentinels; write them as \"redis+sentinel://s1:26379,s2:26379/mymaster/0\"",
        ),
        ("cluster:u:hidden@[a:0]", "names no nodes of a cluster; write them as \"redis+cluster://n1:6379,n2:6379\""),
        ("redis+cluster://u:hidden@a/1", "has a path; a cluster has no database but 0, remove it"),
        (
            "http://hidden@a",
            "is not a store's address; start it with `redis://`, `rediss://`, `redis+unix:`, `sentinel:` or `cluster:`",
        ),
        ("redis://u:hidden@", "has no valid host and port; write it as \"redis://127.0.0.1:6379/0\""),
        ("redis://u:hidden@a:0", "has no valid host and port; write it as \"redis://127.0.0.1:6379/0\""),
        ("redis://u:hidden@a/x", "has a path that is not a database's number; end it with `/0`"),
        ("rediss://u:hidden@a/#insecure", "has a `#`; write it as `%23` in a password, else remove it"),
        ("redis://u:hid den@a", "has a space or a character outside ASCII; write it percent-encoded"),
        ("redis+unix:run.sock", "names no socket; write it as \"redis+unix:///run/redis.sock\""),
    ] {
        let text = BASE.replace("store.embedded = \"s\"", &format!("store.redis = \"{url}\""));
        assert_eq!(errors(&text), [format!("t.toml:3: store.redis: {expected}")], "{url}");
    }
}

#[test]
fn an_authority_of_a_store_needs_tls_and_must_be_one() {
    for (store, expected) in [
        (
            "redis = \"redis://a\", ca = \"/dev/null\"",
            "is of no use without a `rediss://` address; write one, or remove it",
        ),
        ("redis = \"rediss://a\", ca = \"/dev/null\"", "is not a PEM file of certificates"),
        (
            "redis = \"rediss://a\", ca = \"/nowhere/ca.pem\"",
            "names a file that cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        let text = BASE.replace("store.embedded = \"s\"", &format!("store = {{ {store} }}"));
        assert_eq!(errors(&text), [format!("t.toml:3: store.ca: {expected}")], "{store}");
    }
}

#[test]
fn without_a_default_upstream_every_route_and_all_else_must_have_one() {
    let base = "server.public_url = \"https://a.test\"\nstore.embedded = \"s\"\n\
                upstreams = { one = { url = \"http://a\" }, two = { url = \"http://b\" } }\n";
    assert_eq!(
        errors(&format!("{base}[[routes]]\nmatch = \"/a\"\n")),
        [
            "t.toml:3: upstreams: has several upstreams and none is the default; call one `[upstream]`, or add a route \
             that matches \"/*\"",
            "t.toml:4: routes[0]: names no upstream, and there is no `[upstream]`; add `upstream = …`, one of `one`, `two`",
        ]
    );
    assert_eq!(errors(&format!("{base}[[routes]]\nmatch = [\"/*\"]\nupstream = \"two\"\n")), Vec::<String>::new());
}
