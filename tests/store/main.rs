//! The session stores: one contract suite for both, and what is special about each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod acts;
mod alerts;
mod bench;
mod choosing;
mod cluster;
mod cluster_bench;
mod cluster_cache;
mod contacts;
mod contract;
mod embedded;
mod holding;
mod journal;
mod late;
mod layouts;
mod masters;
mod membership;
mod monitor;
mod places;
mod promotions;
mod redis;
mod redis_outages;
mod redis_server;
mod relay;
mod reports;
mod sentinel;
mod sentinel_bench;
mod sharding;
mod slot_moves;
mod stale;
mod topology;
mod touch_queue;

/// Every sentence of the contract, on every store.
macro_rules! contract {
    ($suite:ident in $file:literal: $($sentence:ident),* $(,)?) => {
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sentence() {
                crate::$suite::$sentence(&mut crate::redis::RedisBench::start().await).await;
            })*
        }
        mod on_redis_with_a_cache {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sentence() {
                crate::$suite::$sentence(&mut crate::redis::RedisBench::with_a_cache().await).await;
            })*
        }
        mod on_redis_behind_sentinels {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sentence() {
                crate::$suite::$sentence(&mut crate::sentinel_bench::SentinelBench::start().await).await;
            })*
        }
        mod on_a_cluster {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sentence() {
                crate::$suite::$sentence(&mut crate::cluster_bench::ClusterBench::start().await).await;
            })*
        }
        mod on_a_cluster_with_a_cache {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sentence() {
                crate::$suite::$sentence(&mut crate::cluster_bench::ClusterBench::with_a_cache().await).await;
            })*
        }
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $sentence() {
                crate::$suite::$sentence(&mut crate::embedded::EmbeddedBench::start()).await;
            })*
        }
        /// The list above names each sentence of the suite.
        #[test]
        fn no_sentence_of_the_contract_is_left_out() {
            let listed: &[&str] = &[$(stringify!($sentence)),*];
            let written = include_str!($file).lines().filter_map(|line| line.strip_prefix("pub(crate) async fn "));
            let written: Vec<&str> = written.filter_map(|line| line.split('(').next()).collect();
            assert_eq!(written, listed);
        }
    };
}

contract! {
    contract in "contract.rs":
    what_was_never_made_is_absent,
    a_session_is_live_on_every_instance_once_it_was_stored,
    a_session_is_made_at_the_stores_time_with_exact_deadlines,
    with_idle_off_a_session_lives_to_its_absolute_deadline,
    a_touch_moves_the_deadline_forward_and_never_back,
    touches_are_answered_in_order,
    a_touch_in_flight_cannot_resurrect_an_ended_session,
    a_touch_cannot_resurrect_a_session_that_timed_out,
    a_touch_makes_no_session,
    a_session_is_live_before_its_touch_deadline_and_over_from_it_on,
    the_absolute_deadline_passes_despite_use,
    an_ended_session_is_over_for_every_instance_and_says_why,
    only_the_first_end_counts_and_its_reason_stays,
    of_many_ends_at_once_exactly_one_counts,
    ending_what_was_never_made_ends_nothing,
    an_end_by_time_is_noted_by_the_first_alone,
    what_time_has_ended_nobody_ends_again,
    of_what_time_has_ended_it_is_known_who_would_have_ended_it_on_purpose,
    ending_a_user_ends_all_and_only_their_sessions,
    ending_a_user_counts_what_was_live_however_many,
    ending_a_user_again_counts_nothing,
    each_session_is_counted_once_while_sessions_come_and_go,
    a_login_that_began_before_a_revocation_makes_no_session,
    a_login_and_a_revocation_are_never_at_once,
    ending_the_other_sessions_leaves_one_that_is_at_no_moment_refused,
    what_is_over_or_anothers_is_not_kept_by_ending_the_others,
    ending_a_tenant_ends_all_and_only_its_sessions_however_many,
    each_session_of_a_tenant_is_counted_once_by_whatever_ends_it,
    a_suspended_or_deleted_tenant_gets_no_session_and_loses_the_old_ones,
    a_login_that_began_before_a_tenant_was_shut_out_makes_no_session,
    what_stays_active_keeps_its_sessions_and_what_is_revoked_its_status,
    a_rotated_session_has_a_moment_and_its_successor_the_old_deadline,
    a_session_that_is_over_is_not_rotated,
    whatever_ends_a_rotated_session_by_one_of_its_tokens_ends_it_by_all,
    no_later_revocation_undoes_one_that_came_in_the_moment_of_the_token_before,
    a_session_that_is_rotated_again_has_two_good_tokens_and_one_end,
    an_end_that_races_a_rotation_leaves_no_token_that_is_good,
    a_rotated_session_takes_one_place_is_listed_once_and_counted_once,
    a_login_beyond_the_limit_ends_the_oldest,
    a_login_beyond_the_limit_is_refused_until_there_is_room,
    racing_logins_never_exceed_the_limit_and_each_end_is_told_once,
    of_sixteen_logins_at_once_none_is_refused_and_the_last_three_live,
    a_tenant_shows_its_status_why_and_its_live_sessions,
    known_tenants_are_listed_in_order_and_page_by_page,
    a_listing_shows_the_live_sessions_of_a_user_a_tenant_or_all,
    a_user_of_a_kind_is_another_user_than_the_one_with_the_same_id,
    users_without_a_tenant_are_kept_apart_from_those_of_every_tenant,
    a_listed_session_says_when_it_was_seen_and_when_it_ends,
    what_lives_through_a_listing_is_listed_once_while_sessions_come_and_go,
    tightening_sets_lower_limits_exactly,
    tightening_neither_revives_nor_makes_a_session,
    the_stores_time_never_steps_back,
    a_store_that_works_says_so,
    whatever_the_order_nothing_that_began_before_a_revocation_lives_after_it,
    a_token_is_good_until_it_is_denied_by_one_call_and_then_nowhere,
    what_has_ended_or_was_denied_is_counted,
    a_denial_holds_until_the_token_is_over_and_is_forgotten_in_time,
    a_token_is_refused_that_is_not_younger_than_a_revocation_by_some_seconds,
    a_token_that_ends_all_others_stays_unless_it_was_over,
    what_is_sealed_for_a_session_is_there_with_it_and_goes_with_it,
    what_is_sealed_is_replaced_only_while_it_is_there,
    a_turn_is_one_holders_until_it_ends_or_is_over,
}

mod chosen_tenants {
    contract! {
        choosing in "choosing.rs":
        a_session_keeps_the_tenants_that_its_user_may_choose_from,
        what_ends_in_a_tenant_is_lost_there_and_the_session_goes_on_elsewhere,
        a_user_revoked_in_one_of_the_tenants_has_no_session_that_may_choose_it,
        the_session_that_ends_all_others_stays_in_each_of_its_tenants,
        what_is_revoked_while_a_login_is_under_way_is_lost_to_it,
        a_session_that_goes_on_in_another_tenant_may_choose_what_it_had_and_lost_nothing_back,
    }
}

mod holds {
    contract! {
        holding in "holding.rs":
        a_held_session_is_live_for_no_instance_and_goes_on_where_it_was,
        whoever_holds_or_releases_is_heard_by_all,
        what_is_held_stays_held_for_its_first_reason_and_the_last_word_counts,
        a_held_session_ends_as_ever_and_is_counted,
        time_ends_a_held_session_and_nothing_keeps_it_alive,
        a_held_session_takes_its_place_and_is_listed_as_held,
        a_hold_is_on_all_tokens_of_a_session_also_on_those_to_come,
        lower_limits_and_late_touches_leave_a_held_session_held,
        of_holds_and_releases_at_once_each_change_is_told_once,
        a_hold_or_release_that_races_an_end_leaves_it_over,
        holding_what_was_never_made_makes_no_session,
    }
}

/// What a store does for the monitoring.
mod of_the_monitoring {
    contract! {
        monitor in "monitor.rs":
        no_more_are_let_through_at_once_than_may_fail,
        a_flood_of_names_that_are_made_up_opens_nothing_that_is_locked,
        the_last_failure_locks_until_a_fixed_time_that_nothing_moves,
        a_success_clears_the_pair_of_its_own_account_and_network_alone,
        what_says_nothing_of_who_tried_gives_its_place_back,
        failures_that_are_long_ago_count_no_more,
        many_accounts_that_fail_fill_a_network,
        a_wider_network_has_more_room_and_not_without_end,
        a_success_is_told_how_often_its_account_failed_elsewhere,
        what_is_only_observed_holds_nobody_up_and_is_found_once,
        a_lock_that_an_operator_ends_is_over_with_what_led_to_it,
        locks_are_listed_page_by_page_by_their_ends,
        findings_are_listed_from_the_newest_on_and_the_same_counts_on_the_first,
        the_last_word_about_a_finding_counts,
        a_finding_is_open_in_its_sessions_until_it_is_judged,
        the_same_as_one_that_was_judged_is_new_and_open_and_told,
        the_accounts_by_which_a_user_logs_in_are_locked_and_nobody_elses,
        of_the_accounts_of_a_user_the_last_few_are_known,
    }
}

/// What a store does for tenants that must exist.
mod of_memberships {
    contract! {
        membership in "membership.rs":
        whoever_is_noted_waits_since_then_and_attempts_add_up,
        whoever_is_forgotten_is_new_when_they_are_noted_again,
        attempts_of_whom_nobody_noted_are_nobodys,
        of_many_notes_at_once_one_is_new_and_none_is_lost,
        those_who_wait_are_listed_page_by_page_from_the_longest_on_while_others_come_and_go,
        of_claims_at_once_one_has_it_until_it_is_over,
    }
}

/// What gateways tell each other of what is done with sessions.
mod of_acts {
    contract! {
        acts in "acts.rs":
        what_a_gateway_tells_of_calls_the_others_hear_and_not_it_itself,
        a_gateway_that_tells_nothing_more_of_calls_is_none_in_time,
        a_gateway_that_rings_is_heard_and_so_is_a_new_one,
        the_third_of_different_acts_fires_at_one_gateway_and_begins_anew,
        more_than_so_much_fires_at_one_gateway_and_begins_anew,
        of_acts_at_many_gateways_at_once_none_is_lost_and_each_third_fires,
        what_counted_longer_ago_than_its_window_counts_no_more,
        what_is_remembered_of_ended_sessions_every_gateway_knows_until_its_time,
        of_sessions_that_are_ended_many_at_once_something_is_remembered_where_that_is_wanted,
    }
}

/// Where users were.
mod of_places {
    contract! {
        places in "places.rs":
        what_is_kept_of_users_every_gateway_knows,
        what_goes_by_what_is_there_no_more_is_not_kept,
        of_many_gateways_that_go_by_the_same_one_keeps_what_it_knows,
        the_last_users_of_a_place_are_known_and_since_when,
    }
}

/// The outbox of alerts.
mod of_the_alerts {
    contract! {
        alerts in "alerts.rs":
        what_is_to_be_told_is_put_in_with_a_finding_that_is_new,
        of_many_takers_each_alert_has_one,
        what_nobody_said_anything_of_is_taken_again_under_the_same_id,
        who_lost_an_alert_neither_ends_nor_puts_it_off,
        what_is_put_off_is_due_again_after_its_pause_and_says_what_was_tried,
        what_is_gathered_is_one_alert_at_the_end_of_its_period,
        beyond_a_limit_the_rest_is_gathered_or_not_told,
        queues_do_not_hold_each_other_up,
        what_waits_is_listed_page_by_page,
        no_more_wait_than_there_is_room_for,
        the_same_is_told_again_after_a_while,
    }
}

/// How users are written to.
mod of_the_contacts {
    contract! {
        contacts in "contacts.rs":
        what_is_remembered_of_somebody_every_gateway_finds_and_of_nobody_else,
        the_last_that_is_remembered_of_somebody_counts,
    }
}

/// What a store counts for reports, and keeps of tenants.
mod of_reports {
    contract! {
        reports in "reports.rs":
        what_gateways_count_adds_up_by_whom_and_day,
        of_very_many_users_not_all_are_counted_apart_and_nothing_else_is_lost,
        what_is_too_old_for_any_report_is_not_kept,
        a_tenants_findings_are_listed_from_the_newest_on_and_nobody_elses,
        what_front_ends_report_is_kept_by_tenant_from_the_newest_on,
        of_what_front_ends_report_the_newest_are_kept,
    }
}
