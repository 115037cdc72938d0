//! What gateways tell each other of calls: one hash, a field for each gateway.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use super::super::StoreResult;
use super::super::acts::{CallExchange, TOLD_FOR, ToldCalls};
use super::answers::{exactly, time};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{text, unexpected};
use super::lane::Lanes;
use super::store::RedisStore;
use crate::monitor::CallCount;

/// Between two looks where nobody would hear a bell.
const POLL: Duration = Duration::from_secs(1);

/// Tells what one gateway counted, and answers the time and what the others did. Keys: the hash, the bell. Arguments: the
/// gateway, what it counted, how long that is told (ms), whether to ring. Each field begins with when it was written (ms).
const EXCHANGE: &str = r"#!lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local all = redis.call('HGETALL', KEYS[1])
local others, is_new = {}, true
for at = 1, #all, 2 do
  local written = tonumber(string.sub(all[at + 1], 1, 16))
  if not written or written + tonumber(ARGV[3]) <= now then
    redis.call('HDEL', KEYS[1], all[at])
  elseif all[at] == ARGV[1] then
    is_new = false
  else
    others[#others + 1] = string.sub(all[at + 1], 17)
  end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%016.0f', now) .. ARGV[2])
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + 4 * tonumber(ARGV[3])))
if ARGV[4] == '1' or (is_new and #others > 0) then
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
end
return {time, others}
";

#[async_trait]
impl CallExchange for RedisStore {
    async fn exchange_calls(&self, gateway: &str, counts: &[CallCount], rings: bool) -> StoreResult<ToldCalls> {
        let mut command = eval(EXCHANGE, &[self.keys().calls(), self.keys().call_bell()]);
        command.arg(gateway).arg(CallCount::pack(counts)).arg(TOLD_FOR.as_millis().to_string()).arg(u8::from(rings));
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let work = |lanes: Arc<Lanes>| async move {
            let [answer] = exactly(lanes.quick.ask(&pipeline).await?)?;
            let Value::Array(parts) = answer else { return Err(unexpected("what others counted", &answer)) };
            let [now, others] = exactly(parts)?;
            let Value::Array(others) = others else { return Err(unexpected("what others counted", &others)) };
            let (now, gateways) = (time(now)?, u32::try_from(others.len()).unwrap_or(u32::MAX));
            let mut counts = Vec::new();
            for told in others {
                counts.extend(CallCount::unpack(&text(told)?.unwrap_or_default()));
            }
            Ok(ToldCalls { now, others: gateways, counts })
        };
        self.link.call("calls_exchange", CALL_TIMEOUT, work).await
    }

    async fn call_news(&self) {
        match &self.cache {
            // Its tracker hears it.
            Some(cache) if cache.hears_of(self.keys().place(&self.keys().call_bell())) => self.bell.notified().await,
            _ => tokio::time::sleep(POLL).await,
        }
    }
}
