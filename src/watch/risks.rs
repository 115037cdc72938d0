//! What is open of sessions, for their backends to be told (`X-Session-Risk`).
//!
//! A request looks into a table in memory. What stands there the store said: after each finding and verdict of this gateway,
//! and once in a while for those of the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Watch;
use crate::monitor::{Finding, MonitorMode, Risk, Risks, Severity};
use crate::session::SessionId;
use crate::store::gone_on;

/// How long it takes at most until a gateway asks for what others found.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// Between two questions at least: of many findings at once it is asked once.
const BETWEEN: Duration = Duration::from_millis(100);

impl Watch {
    /// How bad it is what is open in the sessions of a line. Asks nobody.
    #[must_use]
    pub fn risk(&self, mode: MonitorMode, line: SessionId) -> Option<Severity> {
        if mode != MonitorMode::Enforce {
            return None;
        }
        self.0.risks.load().as_ref()?.of(line)
    }

    /// What a finding is for its session. Where nobody knows of which line that is, it is the first of it.
    pub(super) async fn risk_by(&self, finding: &Finding) -> Option<Risk> {
        let session = finding.endangers()?;
        let going = gone_on(&*self.0.services.store, session).await.ok().flatten();
        let session = going.map_or(session, |going| going.live.record.decided_by(going.id));
        Some(Risk { session, severity: finding.severity })
    }

    /// Something was found, or judged: it is to be asked what is open.
    pub(super) fn risks_changed(&self) {
        self.0.risks_changed.notify_one();
    }

    /// Asks what is open, and waits until that has to be done again. To be called for ever, each time with what is in force:
    /// whether backends are told.
    pub async fn follow_risks(&self, are_told: bool) {
        if are_told {
            self.ask_for_risks().await;
        }
        sleep(BETWEEN).await;
        let _ = timeout(ASKED_EVERY, self.0.risks_changed.notified()).await;
    }

    pub(super) async fn ask_for_risks(&self) {
        match self.0.services.findings.open_risks().await {
            Ok(open) => {
                let risks: Risks = open.into_iter().collect();
                self.0.risks.store((!risks.is_empty()).then(|| Arc::new(risks)));
            }
            // What was open is so until it is known better.
            Err(error) => tracing::debug!(%error, "it is not known what is open of sessions"),
        }
    }
}
