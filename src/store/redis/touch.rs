//! Uses recorded: the time to live of records that have not timed out is moved on.

use super::super::Touch;
use super::answers::touch_deadline;
use super::fault::{Fault, number};
use super::lane::{Lane, Lanes};
use super::store::RedisStore;
use super::times::expires;
use crate::session::StoreTime;

/// Touches sent in one step.
const TOUCHES: usize = 500;

impl RedisStore {
    pub(super) async fn touch_on(&self, lanes: &Lanes, touches: &[Touch]) -> Result<Vec<bool>, Fault> {
        let mut moved = Vec::with_capacity(touches.len());
        for step in touches.chunks(TOUCHES) {
            // What timed out stays as it is, although its record is still there to say so.
            let known = self.touch_deadlines(&lanes.quick, step.iter()).await?;
            let due =
                step.iter().zip(&known).filter(|(touch, known)| known.is_some_and(|known| known < touch.deadline));
            let due: Vec<&Touch> = due.map(|(touch, _)| touch).collect();
            let mut unmoved = Vec::new();
            if !due.is_empty() {
                let mut pipeline = redis::pipe();
                for touch in &due {
                    let move_to = pipeline.cmd("PEXPIREAT").arg(self.keys().record(&touch.id));
                    move_to.arg(expires(touch.deadline)).arg("GT");
                }
                for (touch, answer) in due.iter().zip(lanes.quick.ask(&pipeline).await?) {
                    if number(&answer)? != 1 {
                        unmoved.push(*touch);
                    }
                }
            }
            // Not moved: the session is over, or somebody else moved it on.
            let mut again = Vec::new();
            if !unmoved.is_empty() {
                let now = self.touch_deadlines(&lanes.quick, unmoved.iter().copied()).await?;
                again.extend(unmoved.iter().zip(now).filter(|(_, now)| now.is_none()).map(|(touch, _)| touch.id));
            }
            moved.extend(step.iter().zip(known).map(|(touch, known)| known.is_some() && !again.contains(&touch.id)));
        }
        Ok(moved)
    }

    /// The touch deadlines of some sessions; `None` where that has passed, or there is no session.
    async fn touch_deadlines(
        &self,
        lane: &Lane,
        touches: impl Iterator<Item = &Touch>,
    ) -> Result<Vec<Option<StoreTime>>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for touch in touches {
            pipeline.cmd("PEXPIRETIME").arg(self.keys().record(&touch.id));
        }
        let (clocks, answers) = lane.ask_timed(&mut pipeline).await?;
        let in_time = |(place, answer)| {
            let now = clocks.at(place)?;
            Ok(touch_deadline(&answer)?.filter(|deadline| now < *deadline))
        };
        answers.into_iter().enumerate().map(in_time).collect()
    }
}
