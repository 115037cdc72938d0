//! What is done with a session, as the monitoring sees it (docs/monitoring.md): calls are counted.

use super::exchange::Exchange;
use super::failure::Failure;
use super::lookup::LiveUse;
use super::services::Gateway;
use crate::session::By;
use crate::watch::TooMany;

impl Gateway {
    /// Counts a call, just before the backend is asked: what was refused until then is none. One that is too many is
    /// refused where that is wanted.
    pub(super) fn count_call(&self, exchange: &Exchange, live: &LiveUse) -> Result<(), Failure> {
        let Some(rules) = &self.config().monitor else { return Ok(()) };
        // By the login's own user: whoever may choose from several tenants has not several times as many.
        match self.watch().called(rules, &live.record.principal, live.now) {
            None => Ok(()),
            Some(too_many) => self.called_too_often(exchange, live, too_many),
        }
    }

    #[cold]
    fn called_too_often(&self, exchange: &Exchange, live: &LiveUse, too_many: TooMany) -> Result<(), Failure> {
        let Some(rules) = &self.config().monitor else { return Ok(()) };
        if too_many.first {
            let session = (live.id, live.record.principal.clone());
            self.watch().found_calls(rules, too_many, session, exchange.origin(By::User));
        }
        if rules.throttles() { Err(Failure::TooManyCalls { seconds: too_many.seconds }) } else { Ok(()) }
    }
}
