//! `sessions revoke-all`: everybody is logged out, tenant by tenant, after a question.
//!
//! There is no one call for it, so that nothing can do it by accident: each tenant's revocation is a change of its own
//! in the audit log. Tenants that come while it runs are found by looking again.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::api::{Client, Trouble, operate, path_segment};
use super::confirm::ChangeOptions;
use super::table::shown;
use crate::config::AdminRole;

/// How often tenants are looked for: whoever logs in meanwhile for a tenant that nobody used before is found then.
const LOOKS: u32 = 3;

/// Options of `sessions revoke-all`.
#[derive(Args, Debug)]
pub struct RevokeAll {
    /// Whether to ask, why it is done, and where.
    #[command(flatten)]
    pub change: ChangeOptions,
}

/// Does it.
#[must_use]
pub fn revoke_all(options: &RevokeAll) -> ExitCode {
    operate(options.change.act.api(), &[AdminRole::Operate, AdminRole::Read], async |client| {
        let change = &options.change;
        change.demand_someone_to_ask()?;
        let first = with_sessions(client).await?;
        let live = first.iter().map(|(_, sessions)| sessions).sum();
        change.confirm(&format!("end all sessions of all {} tenants", first.len()), Some(live))?;
        let mut done = BTreeSet::new();
        let mut ended = 0;
        let (mut pending, mut replicated) = (false, true);
        let mut found = first;
        for look in 0..LOOKS {
            if look > 0 {
                found = with_sessions(client).await?;
            }
            found.retain(|(tenant, _)| !done.contains(tenant));
            if found.is_empty() {
                break;
            }
            for (tenant, _) in found.drain(..) {
                let path = format!("/v1/tenants/{}/revoke", path_segment(&tenant)?);
                let answer = client.call(Method::POST, &path, Some(&change.act.body(json!({})))).await;
                let answer = answer.map_err(|trouble| left_off(trouble, &tenant, done.len()))?;
                ended += answer.get("invalidated_sessions").and_then(Value::as_u64).unwrap_or(0);
                pending |= answer.get("pending").and_then(Value::as_bool).unwrap_or(false);
                replicated &= answer.get("replicated").and_then(Value::as_bool).unwrap_or(true);
                done.insert(tenant);
            }
        }
        let mut answer = json!({ "invalidated_sessions": ended, "pending": pending, "tenants": done.len() });
        if !replicated {
            answer["replicated"] = json!(false);
        }
        change.tell(&format!("all {} tenants", done.len()), &answer);
        Ok(())
    })
}

/// The tenants that have sessions, and how many.
async fn with_sessions(client: &Client) -> Result<Vec<(String, u64)>, Trouble> {
    let (tenants, _) = client.pages("/v1/tenants", Vec::new(), u64::MAX).all().await?;
    let of = |tenant: &Value| {
        let sessions = tenant.get("sessions").and_then(Value::as_u64).filter(|sessions| *sessions > 0)?;
        Some((tenant.get("tenant")?.as_str()?.to_owned(), sessions))
    };
    Ok(tenants.iter().filter_map(of).collect())
}

/// What was done before it failed stays done.
fn left_off(trouble: Trouble, tenant: &str, done: usize) -> Trouble {
    let say = |text: String| format!("at tenant {}: {text}; {done} tenants were done; run it again", shown(tenant));
    match trouble {
        Trouble::Failed(text) => Trouble::Failed(say(text)),
        Trouble::Unavailable(text) => Trouble::Unavailable(say(text)),
        Trouble::Forbidden(text) => Trouble::Forbidden(say(text)),
        trouble @ (Trouble::Usage(_) | Trouble::NoReader) => trouble,
    }
}
