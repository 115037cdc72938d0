//! The app's token of a session, sealed: in a key of its own beside the record, so that what reads records reads no tokens,
//! and what replaces it replaces nothing else. It goes with the session, or by its time to live.

use redis::Value;

use super::answers::exactly;
use super::fault::{Fault, text, unexpected};
use super::lane::Lanes;
use super::store::RedisStore;
use crate::session::SessionId;

impl RedisStore {
    /// What is kept.
    pub(super) async fn sealed_token_on(&self, lanes: &Lanes, id: SessionId) -> Result<Option<Vec<u8>>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(self.keys().sealed_token(&id));
        // That a server which was emptied has none is not to say that there was none.
        let [kept] = exactly(lanes.ask_same_data(&lanes.quick, self.keys(), pipeline).await?)?;
        text(kept)
    }

    /// Keeps another, if one is kept.
    pub(super) async fn replace_sealed_token_on(
        &self,
        lanes: &Lanes,
        id: SessionId,
        sealed: &[u8],
    ) -> Result<bool, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(self.keys().sealed_token(&id)).arg(sealed).arg("XX").arg("KEEPTTL");
        let [set] = exactly(lanes.careful.ask(&pipeline).await?)?;
        match set {
            Value::Okay => Ok(true),
            Value::Nil => Ok(false),
            other => Err(unexpected("a token that is kept", &other)),
        }
    }
}
