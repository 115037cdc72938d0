//! Where users were: a key a user, and a sorted set for each cell of a tenant's.

use std::sync::Arc;

use async_trait::async_trait;
use redis::{Pipeline, Value};

use super::super::StoreResult;
use super::super::places::{CellUse, FOOTPRINT_KEPT, FootprintChange, MOST_USERS, PlaceStore};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, number, text, unexpected};
use super::lane::Lanes;
use super::store::RedisStore;
use crate::monitor::TENANT_KNOWS;
use crate::session::StoreTime;

/// Keeps a value, unless another one is there than the one that it goes by. Key: the user's. Arguments: whether there was one,
/// that, the new one, for how long it is kept (ms). Answers whether it is kept.
const KEEP: &str = r"#!lua
local there = redis.call('GET', KEYS[1])
if (there and (ARGV[1] == '0' or there ~= ARGV[2])) or (not there and ARGV[1] == '1') then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
";

/// Notes a use of a cell; of too many users the one who used it longest ago goes. Key: the cell's. Arguments: when (s), the
/// user, how many are known, for how long (ms).
const NOTE: &str = r"#!lua
redis.call('ZADD', KEYS[1], 'GT', ARGV[1], ARGV[2])
local over = redis.call('ZCARD', KEYS[1]) - ARGV[3]
if over > 0 then redis.call('ZREM', KEYS[1], unpack(redis.call('ZRANGE', KEYS[1], 0, over - 1))) end
local now = redis.call('TIME')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now[1] * 1000 + ARGV[4]))
return 1
";

#[async_trait]
impl PlaceStore for RedisStore {
    async fn footprints(&self, users: &[u64]) -> StoreResult<Vec<Option<Vec<u8>>>> {
        let mut pipeline = redis::pipe();
        for user in users {
            pipeline.cmd("GET").arg(self.keys().footprint(*user));
        }
        let read = |answers: Vec<Value>| answers.into_iter().map(text).collect();
        self.ask_places("footprints", pipeline, read).await
    }

    async fn keep_footprints(&self, changes: Vec<FootprintChange>) -> StoreResult<Vec<bool>> {
        let mut pipeline = redis::pipe();
        for FootprintChange { user, before, after } in &changes {
            let mut keep = eval(KEEP, &[self.keys().footprint(*user)]);
            keep.arg(u8::from(before.is_some())).arg(before.as_deref().unwrap_or_default()).arg(&after[..]);
            keep.arg(millis(FOOTPRINT_KEPT));
            pipeline.add_command(keep);
        }
        let read = |answers: Vec<Value>| answers.iter().map(|answer| number(answer).map(|kept| kept == 1)).collect();
        self.ask_places("footprints_keep", pipeline, read).await
    }

    async fn note_uses(&self, uses: Vec<CellUse>) -> StoreResult<()> {
        let mut pipeline = redis::pipe();
        for CellUse { cell, user, at } in &uses {
            let mut note = eval(NOTE, &[self.keys().users_of_cell(*cell)]);
            note.arg(at.as_micros() / 1_000_000).arg(&user.to_be_bytes()[..]).arg(MOST_USERS).arg(millis(TENANT_KNOWS));
            pipeline.add_command(note);
        }
        self.ask_places("place_uses", pipeline, |_| Ok(())).await
    }

    async fn users_of(&self, cells: &[u64], since: StoreTime) -> StoreResult<Vec<u64>> {
        let mut pipeline = redis::pipe();
        for cell in cells {
            let range = pipeline.cmd("ZRANGE").arg(self.keys().users_of_cell(*cell));
            range.arg(since.as_micros() / 1_000_000).arg("+inf").arg("BYSCORE");
        }
        let read = |answers: Vec<Value>| {
            let mut users = Vec::new();
            for answer in answers {
                let Value::Array(members) = answer else { return Err(unexpected("users of a place", &answer)) };
                for member in members {
                    let member = text(member)?.and_then(|member| member.try_into().ok());
                    users.push(u64::from_be_bytes(member.ok_or_else(|| Fault::garbled("a user that is none"))?));
                }
            }
            Ok(users)
        };
        self.ask_places("place_users", pipeline, read).await
    }
}

impl RedisStore {
    /// On the connection for what need not be quick.
    async fn ask_places<T>(
        &self,
        name: &'static str,
        pipeline: Pipeline,
        read: impl FnOnce(Vec<Value>) -> Result<T, Fault> + Send,
    ) -> StoreResult<T>
    where
        T: Send,
    {
        if pipeline.is_empty() {
            return read(Vec::new()).map_err(Into::into);
        }
        let work = |lanes: Arc<Lanes>| async move { lanes.bulk.ask(&pipeline).await };
        let answers = self.link.call(name, CALL_TIMEOUT, work).await?;
        read(answers).map_err(Into::into)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
