//! The contract of `SessionStore` for sessions that may choose from several tenants. Each sentence runs on every store (see
//! `main.rs`).

use std::time::Duration;

use session_gateway::session::{
    By, Candidate, EndReason, Ended, InTenant, Keep, Scope, SessionId, SessionRecord, Standing, TenantId, TenantStatus,
    UserId,
};
use session_gateway::store::{Creation, NewSession, SharedStore};

use crate::bench::{
    Bench, HOUR, ask, ask_tenant, change_tenant, live, login, principal, revoke, revoke_user, session, session_of,
    stored,
};

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn of_tenant(name: &str) -> Scope {
    Scope::Tenant { tenant: tenant(name) }
}

/// A login of acme's user 7, who may choose bolt and core as well.
async fn choosing(store: &SharedStore) -> NewSession {
    let candidates = Candidate::beside(&tenant("acme"), vec![tenant("acme"), tenant("bolt"), tenant("core")]);
    NewSession { candidates, ..login(store).await }
}

async fn chooser(store: &SharedStore) -> (SessionId, SessionRecord) {
    let new = choosing(store).await;
    (new.id, stored(store, new).await)
}

/// Those of its tenants that are open to a session.
async fn open_to(store: &SharedStore, record: &SessionRecord) -> String {
    let mut open = Vec::new();
    for (tenant, generations) in record.tenants() {
        let held = InTenant { tenant: tenant.clone(), generation: generations.tenant };
        if held.refused_by(ask_tenant(store, tenant).await).is_none() {
            open.push(tenant.name().unwrap().to_owned());
        }
    }
    open.join(" ")
}

async fn reason(store: &SharedStore, id: SessionId) -> Option<EndReason> {
    match ask(store, id).await {
        Standing::Ended(Ended { reason, .. }) => Some(reason),
        Standing::Live(_) | Standing::Held(_) | Standing::Absent => None,
    }
}

pub(crate) async fn a_session_keeps_the_tenants_that_its_user_may_choose_from(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (id, record) = chooser(&store).await;
    assert_eq!(*live(&other, id).await.record, record);
    assert_eq!(open_to(&other, &record).await, "acme bolt core");
    let (plain, of_one) = session(&store).await;
    assert_eq!(of_one.choices, None, "most have one, of which nothing is kept");
    live(&other, plain).await;
}

pub(crate) async fn what_ends_in_a_tenant_is_lost_there_and_the_session_goes_on_elsewhere(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (id, record) = chooser(&store).await;
    let (plain, _) = session(&store).await;
    bench.elapse(Duration::from_millis(1)).await;
    assert_eq!(revoke(&store, of_tenant("bolt"), EndReason::TenantRevoked).await, 0, "it is no session of bolt's");
    assert_eq!(open_to(&other, &record).await, "acme core");
    assert_eq!(change_tenant(&store, "core", TenantStatus::Suspended).await, 0);
    assert_eq!(open_to(&other, &record).await, "acme");
    assert_eq!(revoke(&store, of_tenant("acme"), EndReason::TenantRevoked).await, 1, "the one of acme alone");
    assert_eq!(reason(&other, plain).await, Some(EndReason::TenantRevoked));
    assert_eq!(open_to(&other, &record).await, "");
    live(&other, id).await;
    assert_eq!(change_tenant(&store, "core", TenantStatus::Active).await, 0);
    assert_eq!(open_to(&other, &record).await, "", "restoring gives nothing back");
    bench.elapse(Duration::from_millis(1)).await;
    let (_, again) = chooser(&store).await;
    assert_eq!(open_to(&other, &again).await, "acme bolt core", "the next login does");
}

pub(crate) async fn a_user_revoked_in_one_of_the_tenants_has_no_session_that_may_choose_it(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for name in ["acme", "bolt", "core"] {
        let (id, _) = chooser(&store).await;
        live(&other, id).await;
        let (of_other_user, _) = session_of(&store, name, "8").await;
        bench.elapse(Duration::from_millis(1)).await;
        let counted = u64::from(name == "acme");
        assert_eq!(revoke_user(&store, name, "7", EndReason::UserRevoked).await, counted, "counted where it was made");
        assert_eq!(reason(&other, id).await, Some(EndReason::UserRevoked), "{name}");
        live(&other, of_other_user).await;
        bench.elapse(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn the_session_that_ends_all_others_stays_in_each_of_its_tenants(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (this, record) = chooser(&store).await;
    let elsewhere = Candidate::beside(&tenant("core"), vec![tenant("acme")]);
    let from_core = NewSession { candidates: elsewhere, principal: principal("core", "7"), ..login(&store).await };
    let that = from_core.id;
    stored(&store, from_core).await;
    bench.elapse(Duration::from_millis(1)).await;
    for (tenant, _) in record.tenants() {
        let scope = Scope::OtherSessions {
            tenant: tenant.clone(),
            user: UserId::parse("7").unwrap(),
            keep: Keep::Session(this),
        };
        revoke(&store, scope, EndReason::UserOthersRevoked).await;
    }
    assert_eq!(reason(&other, that).await, Some(EndReason::UserOthersRevoked));
    live(&other, this).await;
    assert_eq!(open_to(&other, &record).await, "acme bolt core");
}

pub(crate) async fn what_is_revoked_while_a_login_is_under_way_is_lost_to_it(bench: &mut impl Bench) {
    let store = bench.store();
    let new = choosing(&store).await;
    bench.elapse(Duration::from_millis(2)).await;
    revoke(&store, of_tenant("bolt"), EndReason::TenantRevoked).await;
    let record = stored(&store, new).await;
    assert_eq!(open_to(&store, &record).await, "acme core", "of a tenant that alone");
    bench.elapse(Duration::from_millis(2)).await;
    let new = choosing(&store).await;
    bench.elapse(Duration::from_millis(2)).await;
    revoke_user(&store, "core", "7", EndReason::UserRevoked).await;
    assert_eq!(store.create(new).await.unwrap(), Creation::Superseded, "of the user the whole");
    bench.elapse(Duration::from_millis(2)).await;
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    let refused = store.create(choosing(&store).await).await.unwrap();
    assert_eq!(refused, Creation::TenantRefused(TenantStatus::Suspended), "into the login's own as ever");
}

pub(crate) async fn a_session_that_goes_on_in_another_tenant_may_choose_what_it_had_and_lost_nothing_back(
    bench: &mut impl Bench,
) {
    let store = bench.store();
    let (old, record) = chooser(&store).await;
    bench.elapse(Duration::from_millis(2)).await;
    revoke(&store, of_tenant("bolt"), EndReason::TenantRevoked).await;
    bench.elapse(Duration::from_millis(2)).await;
    let to = principal("core", "7");
    let new = NewSession { candidates: record.candidates_for(&to), principal: to, ..login(&store).await };
    let id = new.id;
    let Creation::Stored { record: goes_on, .. } = store.rotate(old, &record, new, HOUR).await.unwrap() else {
        panic!("it goes on")
    };
    let names: Vec<_> = goes_on.tenants().filter_map(|(tenant, _)| tenant.name()).collect();
    assert_eq!(names, ["core", "acme", "bolt"]);
    assert_eq!(open_to(&store, &goes_on).await, "core acme");
    assert!(record.candidates_for(&principal("core", "8")).is_empty(), "another user has nothing of it");
    store.end(id, &goes_on, EndReason::Logout, &By::Gateway).await.unwrap();
    assert!(reason(&store, old).await.is_some() && reason(&store, id).await.is_some());
}
