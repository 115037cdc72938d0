//! The file as it is written: every table and key that the format knows, with its type. What is not here is an
//! unknown key.
//!
//! No defaults and no rules: those are the sections' (one file each). Keys listed as `unbuilt` belong to the format but
//! not to this version.

use toml::Spanned;
use toml::de::DeValue;

use super::error::Place;
use super::reader::{
    CountOrOff, DateText, Named, OffOr, OneOrMany, Read, Reader, Spot, StatusText, TableOrList, WordOrList,
};
use super::table::{Field, Fields, Table, key_of, tables};
use crate::secret::Secret;

type List = Vec<Spot<String>>;

tables! {
    /// The whole file.
    struct RawConfig {
        server: RawServer,
        upstream: RawUpstream,
        upstreams: Named<RawUpstream>,
        store: RawStore,
        session: RawSession,
        cookie: RawCookie,
        identity: RawIdentity,
        login: TableOrList<RawLogin>,
        logout: RawLogout,
        routes: Vec<Spot<RawRoute>>,
        events: Vec<Spot<RawEvent>>,
        tenants: RawTenants,
        cors: RawCors,
        errors: RawErrors,
        bearer: RawBearer,
        monitor: RawMonitor,
        alerts: RawAlerts,
        admin: RawAdmin,
        audit: RawAudit,
        telemetry: RawTelemetry,
        secrets: RawSecrets,
    } unbuilt ["oidc"]

    /// `[server]`
    struct RawServer {
        mode: String,
        listen: OneOrMany,
        public_url: String,
        hosts: List,
        trusted_origins: List,
        trusted_proxies: List,
        proxy_protocol: String,
        tls: TableOrList<RawCertificate>,
        redirect_http: String,
        hsts: String,
        allow_headers: List,
        methods: List,
        max_body: String,
        max_header: String,
        max_headers: u64,
        header_timeout: String,
        body_timeout: String,
        write_timeout: String,
        client_keepalive: String,
        tunnel_idle: String,
        drain_delay: String,
        drain_timeout: String,
        reuse_port: bool,
        workers: u64,
        max_connections: u64,
        max_connections_per_address: u64,
    }

    /// `server.tls`, or each of it
    struct RawCertificate {
        cert: String,
        key: String,
    }

    /// `[upstream]` and each of `[upstreams]`
    struct RawUpstream {
        url: String,
        urls: List,
        keepalive: String,
        host: String,
        connect_timeout: String,
        response_timeout: String,
        request_body: String,
        spool: RawSpool,
        balance: String,
        health_path: String,
        eject: OffOr<RawEject>,
        ca: String,
        rewrite_location: bool,
    }

    /// `upstream.eject`
    struct RawEject {
        failures: u64,
        rest ("for"): String,
    }

    /// `upstream.spool`
    struct RawSpool {
        dir: String,
        above: String,
        total: String,
    }

    /// `[store]`
    struct RawStore {
        redis: Secret,
        ca: String,
        embedded: String,
        password: Secret,
        password_file: String,
        prefix: String,
        shared_prefix: bool,
        on_error: String,
        journal: String,
        cache_entries: CountOrOff,
        sentinel: RawSentinel,
        addresses: Named<String>,
        strict_failover: bool,
    }

    /// `store.sentinel`
    struct RawSentinel {
        user: String,
        password: Secret,
        password_file: String,
        tls: bool,
    }

    /// `[session]`
    struct RawSession {
        idle: String,
        absolute: String,
        remember: String,
        remember_idle: String,
        remember_field: String,
        no_touch: List,
        status_path: String,
        refresh_path: String,
        cache: String,
        cache_pages: String,
        clear_site_data: List,
        expose: bool,
        max_per_user: OffOr<RawMaxPerUser>,
    }

    /// `session.max_per_user`
    struct RawMaxPerUser {
        count: u64,
        action: String,
    }

    /// `[cookie]`
    struct RawCookie {
        name: String,
        same_site: String,
        partitioned: bool,
    }

    /// `[identity]`
    struct RawIdentity {
        mode: String,
        compat_until: DateText,
        client_value: String,
        tenant_format: String,
        encode: String,
        tenant_header: String,
        user_header: String,
        role_header: String,
        session_header: String,
        strip: List,
        seal_cookies: List,
        signed: String,
        signed_keys: List,
        signed_lifetime: String,
        query: Named<String>,
        anonymous: String,
    }

    /// `[login]`, or each `[[login]]`
    struct RawLogin {
        path: OneOrMany,
        account: OneOrMany,
        kind: String,
        without_tenant: String,
        follow: List,
        capture: String,
        tenant: OneOrMany,
        user: OneOrMany,
        role: OneOrMany,
        tenants: OneOrMany,
        header: RawLoginHeader,
        whoami: RawWhoami,
        token: OneOrMany,
        refresh_token: OneOrMany,
        answer: String,
        refresh: RawRefresh,
        max_token: String,
        failure: Vec<Spot<StatusText>>,
        unless: OneOrMany,
        max_body: String,
        login_url: String,
    }

    /// `login.header`
    struct RawLoginHeader {
        tenant: String,
        user: String,
        role: String,
    }

    /// `login.whoami`
    struct RawWhoami {
        path: String,
        tenant: OneOrMany,
        user: OneOrMany,
        role: OneOrMany,
        bearer: bool,
    }

    /// `login.refresh`
    struct RawRefresh {
        path: String,
        before: String,
        send: String,
        field: String,
    }

    /// `[logout]`
    struct RawLogout {
        path: OneOrMany,
        all_path: String,
        clear_cookies: List,
    }

    /// `[[routes]]`
    struct RawRoute {
        pattern ("match"): OneOrMany,
        methods: List,
        auth: String,
        roles: List,
        csrf: String,
        tenant_in_body: List,
        path: String,
        authorization: String,
        upstream: String,
        mode: String,
        compat_until: DateText,
        upgrade: List,
    }

    /// `[[events]]`
    struct RawEvent {
        pattern ("match"): String,
        when_pointer: String,
        tenant_pointer: String,
        user_pointer: String,
        count_pointer: String,
        action: String,
        any_tenant: bool,
        roles: List,
        header: List,
        reason: String,
        counts_as: String,
    }

    /// `[tenants]`
    struct RawTenants {
        verify: String,
        exists: OneOrMany,
        tenant: OneOrMany,
        paid: OneOrMany,
        missing: Vec<Spot<StatusText>>,
        attempts: u64,
        backoff: String,
        recheck: String,
        onboarding: List,
        onboarding_lifetime: String,
    }

    /// `[cors]`
    struct RawCors {
        origins: List,
        backend: String,
        max_age: String,
    }

    /// `[errors]`
    struct RawErrors {
        pages: String,
    }

    /// `[bearer]`
    struct RawBearer {
        leeway: String,
        max_lifetime: String,
        authorization: String,
        issuers: Vec<Spot<RawIssuer>>,
    }

    /// Each of `[[bearer.issuers]]`
    struct RawIssuer {
        issuer: String,
        audience: WordOrList,
        algorithms: List,
        jwks: String,
        key_file: String,
        types: List,
        tenant: OneOrMany,
        user: OneOrMany,
        role: OneOrMany,
    }

    /// `[monitor]`
    struct RawMonitor {
        mode: String,
        device_cookie: String,
        api: OneOrMany,
        failed_logins: RawFailedLogins,
        guessed_login: RawGuessedLogin,
        calls: RawCalls,
        exports: RawExports,
        privileges: RawPrivileges,
        passwords: RawPasswords,
        revoked_use: RawRevokedUse,
        geo: RawGeo,
        ignore_networks: List,
        ignore_asns: Vec<Spot<u64>>,
        low_asns: Vec<Spot<u64>>,
        travel: RawTravel,
        location_change: RawLocationChange,
        locations: RawLocations,
        concurrent: RawConcurrent,
        path: String,
        admin_roles: List,
    }

    /// `monitor.failed_logins`
    struct RawFailedLogins {
        enabled: bool,
        count: u64,
        account_count: u64,
        network_count: u64,
        network_accounts: u64,
        window: String,
        lock: String,
        by: String,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.guessed_login`
    struct RawGuessedLogin {
        enabled: bool,
        count: u64,
        window: String,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.calls`
    struct RawCalls {
        enabled: bool,
        count: u64,
        window: String,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.exports`
    struct RawExports {
        enabled: bool,
        count: u64,
        window: String,
        severity: String,
        action: OneOrMany,
        routes: Vec<Spot<RawExportRoute>>,
    }

    /// Each of `[[monitor.exports.routes]]`
    struct RawExportRoute {
        pattern ("match"): OneOrMany,
        count: String,
    }

    /// `monitor.privileges`
    struct RawPrivileges {
        enabled: bool,
        pattern ("match"): OneOrMany,
        count: u64,
        window: String,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.travel`
    struct RawTravel {
        enabled: bool,
        kmh: u64,
        window: String,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.location_change`
    struct RawLocationChange {
        enabled: bool,
        km: u64,
        within: String,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.passwords`
    struct RawPasswords {
        enabled: bool,
        count: u64,
        window: String,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.locations`
    struct RawLocations {
        enabled: bool,
        km: u64,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.revoked_use`
    struct RawRevokedUse {
        enabled: bool,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.concurrent`
    struct RawConcurrent {
        enabled: bool,
        count: u64,
        severity: String,
        action: OneOrMany,
    }

    /// `monitor.geo`
    struct RawGeo {
        city: OneOrMany,
        asn: OneOrMany,
    }

    /// `[alerts]`
    struct RawAlerts {
        smtp: String,
        smtp_password: Secret,
        smtp_password_file: String,
        smtp_plaintext: bool,
        ca: String,
        from: String,
        high: RawRecipients,
        medium: RawRecipients,
        low: RawRecipients,
        repeat: String,
        max_per_hour: u64,
        user_email: String,
        webhooks: Vec<Spot<RawWebhook>>,
    }

    /// Each of `alerts.webhooks`
    struct RawWebhook {
        url: Secret,
        format: String,
        secret: Secret,
        secret_file: String,
        severity: OneOrMany,
        plaintext: bool,
        ca: String,
    }

    /// `alerts.high`, `alerts.medium`, `alerts.low`
    struct RawRecipients {
        to: OneOrMany,
        send: String,
    }

    /// `[admin]`
    struct RawAdmin {
        listen: String,
        hosts: List,
        tls: TableOrList<RawCertificate>,
        dangerously_allow_plaintext: bool,
        token: Secret,
        token_file: String,
        tokens: Vec<Spot<RawAdminToken>>,
    }

    /// Each of `admin.tokens`
    struct RawAdminToken {
        name: String,
        token: Secret,
        token_file: String,
        roles: List,
    }

    /// `[audit]`
    struct RawAudit {
        file: String,
    }

    /// `[telemetry]`
    struct RawTelemetry {
        log: String,
        level: String,
        traces: OffOr<RawTraces>,
    }

    /// `telemetry.traces`
    struct RawTraces {
        url: String,
        sample: String,
        headers: Named<Secret>,
        ca: String,
    }

    /// `[secrets]`
    struct RawSecrets {
        key: Secret,
        key_file: String,
        previous_files: List,
    }
}
