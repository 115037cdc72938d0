//! Breaks one thing after the other, and sometimes a second one meanwhile.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::calls::Fleet;
use crate::dice::Dice;
use crate::model::Model;
use crate::stage::Stage;
use crate::troubles::Of;

/// Between the time when all is well again and what breaks next.
const PAUSE: (u64, u64) = (300, 2000);
/// For the servers to find together again.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// Until the time is over, or so many masters were followed by another.
pub async fn rage<S: Stage>(
    stage: &mut S,
    mut fleet: Fleet,
    model: &Arc<Model>,
    dice: &mut Dice,
    time: Duration,
    failovers: Option<usize>,
) -> Fleet {
    let begin = model.now();
    loop {
        let goes_on = match failovers {
            Some(count) => model.known().promotions.len() < count,
            None => model.now() - begin < time,
        };
        if !goes_on || !model.known().violations.is_empty() {
            return fleet;
        }
        let twice = dice.one_in(4);
        for _ in 0..=usize::from(twice) {
            let (fault, gateway) = (stage.next_fault(dice, failovers.is_some()), dice.below(fleet.gateways.len()));
            let what = stage.break_it(fault, gateway, dice).await;
            model.tell(format!("{fault:?}: {what}"));
            *model.known().counts.faults.entry(format!("{fault:?}")).or_default() += 1;
            harm_a_gateway(&mut fleet, model, dice).await;
            tokio::time::sleep(stage.lasts(fault, dice)).await;
        }
        stage.mend().await;
        let now = model.now();
        model.known().troubles.are_over(now);
        model.tell(String::from("mended"));
        if !stage.whole(WHOLE_WITHIN, dice).await {
            model.tell(String::from("not whole yet"));
        }
        tokio::time::sleep(dice.millis(PAUSE.0, PAUSE.1)).await;
    }
}

/// Now and then one is frozen for a while, or killed and started again.
async fn harm_a_gateway(fleet: &mut Fleet, model: &Arc<Model>, dice: &mut Dice) {
    if !dice.one_in(6) {
        return;
    }
    let number = dice.below(fleet.gateways.len());
    let gateway = &mut fleet.gateways[number];
    let (what, time) = (dice.below(2), dice.millis(300, 2500));
    let begin = model.now();
    if what == 0 {
        model.tell(format!("gateway {number} is frozen for {time:?}"));
        gateway.process().signal(Signal::STOP);
        tokio::time::sleep(time).await;
        gateway.process().signal(Signal::CONT);
    } else {
        model.tell(format!("gateway {number} is killed, and back after {time:?}"));
        gateway.crash(time).await;
    }
    let end = model.now();
    model.known().troubles.was_seen(Of::Gateway(number), begin, end);
    *model.known().counts.faults.entry(format!("gateway {}", ["frozen", "killed"][what])).or_default() += 1;
}
