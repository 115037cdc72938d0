//! Counts for reports: a hash for each tenant and day, and one for all of a day.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;

use super::super::StoreResult;
use super::super::reports::{COUNTS_KEPT_DAYS, MOST_USERS_A_DAY, ReportStore};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, text, unexpected};
use super::lane::Lanes;
use super::store::RedisStore;
use crate::monitor::{CountOf, Counted, Counts, Day, DayCounts};

/// Adds to the counts of a day. Key: the hash. Arguments: when it expires (ms), how many fields there may be where one of a
/// user's is new, then each field and how much more it is. Those of users begin with `u `.
const ADD: &str = r"#!lua
local size = redis.call('HLEN', KEYS[1])
for at = 3, #ARGV, 2 do
  local kept = redis.call('HGET', KEYS[1], ARGV[at])
  if not kept then size = size + 1 end
  if kept or string.sub(ARGV[at], 1, 2) ~= 'u ' or size <= tonumber(ARGV[2]) then
    local count = (tonumber(kept or '0') or 0) + tonumber(ARGV[at + 1])
    redis.call('HSET', KEYS[1], ARGV[at], string.format('%.0f', count))
  else
    size = size - 1
  end
end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return 1
";

#[async_trait]
impl ReportStore for RedisStore {
    async fn add_counts(&self, counts: &[DayCounts]) -> StoreResult<()> {
        if counts.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for DayCounts { of, day, counts } in counts {
            let mut add = eval(ADD, &[self.keys().report(of, *day)]);
            add.arg(over(*day)).arg(MOST_USERS_A_DAY);
            for (counted, times) in counts {
                add.arg(counted.encode()).arg(*times);
            }
            pipeline.add_command(add);
        }
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask(&pipeline).await.map(drop) };
        self.link.call("report_add", CALL_TIMEOUT, work).await
    }

    async fn counts(&self, of: &CountOf, first: Day, last: Day) -> StoreResult<Vec<(Day, Counts)>> {
        let days: Vec<Day> = first.until(last).collect();
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for day in &days {
            pipeline.cmd("HGETALL").arg(self.keys().report(of, *day));
        }
        let work = |lanes: Arc<Lanes>| async move {
            let answers = lanes.bulk.ask(&pipeline).await?;
            days.into_iter().zip(answers).map(|(day, answer)| Ok((day, counts(answer)?))).collect()
        };
        self.link.call("report", CALL_TIMEOUT, work).await
    }
}

/// When the counts of a day expire (ms).
fn over(day: Day) -> u64 {
    Day::from_number(day.number().saturating_add(COUNTS_KEPT_DAYS + 1)).begins().as_micros() / 1000
}

fn counts(answer: Value) -> Result<Counts, Fault> {
    let pairs = match answer {
        Value::Map(pairs) => pairs,
        Value::Array(list) => {
            let mut list = list.into_iter();
            let mut pairs = Vec::new();
            while let (Some(field), Some(count)) = (list.next(), list.next()) {
                pairs.push((field, count));
            }
            pairs
        }
        other => return Err(unexpected("counts", &other)),
    };
    let mut counts = Vec::with_capacity(pairs.len());
    for (field, count) in pairs {
        let word = |value| Ok::<_, Fault>(text(value)?.and_then(|text| String::from_utf8(text).ok()));
        let (field, count) = (word(field)?, word(count)?);
        let read = |field: &String| Counted::decode(field);
        let count = count.and_then(|count| count.parse().ok());
        counts.extend(field.as_ref().and_then(read).zip(count));
    }
    Ok(counts)
}
