//! What a gateway under test can stand in front of.

/// A backend, and the configuration that goes with it.
pub trait Backend {
    /// For `upstream.url`.
    fn url(&self) -> String;

    /// The rest of the configuration that suits it.
    fn settings(&self) -> &'static str {
        JSON_LOGIN
    }
}

/// For a backend with a JSON login.
pub const JSON_LOGIN: &str = r#"
    [login]
    path = "/api/login"
    tenant = ["/user/customer_id", "/customer_id"]
    user = ["/user/user_id", "/user_id"]
    role = ["/user/role", "/role"]
    login_url = "/login"
    [[routes]]
    match = ["/public/*", "/static/*", "/api/health"]
    auth = "public"
    [[routes]]
    match = ["/", "/optional/*"]
    auth = "optional"
    [[routes]]
    match = ["/api/admin/*"]
    roles = ["admin"]
"#;
