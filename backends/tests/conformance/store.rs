pub mod accounts;
pub mod activity;
pub mod cancel;
pub mod cells;
pub mod model;
pub mod paging;
pub mod scans;
pub mod shared;

use super::{StoreFactory, account, at};
use fleetscan_proto::{
    Cell, Lane, LedgerLine, Outcome, PartName, Probe, RegionSource, ScanId, ScanSpec, Store, WorkTotals,
};

/// Makes a test of every case. `$factory` is an expression that makes a factory of its own for each test; `$runtime`
/// is the attribute of each test, `$timed` of those that let time pass.
macro_rules! store_conformance {
    ($factory:expr, $runtime:meta, $timed:meta) => {
        $crate::conformance::store::store_conformance!(@cases scans, $factory, $runtime,
            a_scan_is_created_once_with_its_accounts_waiting
            an_unknown_scan_is_none
            scans_are_listed_newest_first
            the_unfinished_scan_is_the_newest_that_runs_under_its_plan
            a_scan_ends_once
            a_scan_cannot_end_as_running
            nothing_begins_once_a_scan_ended
            one_account_of_a_scan_is_found
            hastened_accounts_are_taken_once_by_id
            a_running_scan_is_not_forgotten
            a_forgotten_scan_leaves_nothing_and_harms_no_other
            a_probe_is_recorded_once_and_under_its_generation
            a_failed_probe_is_kept_as_it_was
            a_renewed_probe_makes_older_copies_stale
            a_probe_that_failed_may_be_asked_again
            planning_stores_each_cell_once
            only_a_probed_account_is_planned
            an_account_without_cells_is_planned_too
            the_counts_follow_the_accounts
            a_store_opened_again_remembers_everything
        );
        $crate::conformance::store::store_conformance!(@cases cells, $factory, $runtime,
            beginning_counts_attempts_and_starts_from_nothing
            a_cell_of_a_denied_account_does_not_begin
            an_unknown_cell_is_stale
            a_checkpoint_keeps_progress_under_a_new_generation
            a_pending_cell_tells_who_began_it_last
            executions_that_never_ended_are_counted_until_a_checkpoint
            what_was_begun_since_it_was_looked_at_is_not_renewed
            a_stale_checkpoint_changes_nothing
            renewing_leaves_the_progress_alone
            a_result_counts_first_and_once
            a_stale_result_does_not_count
            a_cell_that_is_done_stays_as_it_is
            of_concurrent_results_exactly_one_is_first
            of_concurrent_renewals_and_checkpoints_exactly_one_wins
            closing_keeps_what_the_progress_has
            closing_an_account_leaves_the_others_alone
            closing_a_scan_ends_all_that_is_pending
            amending_changes_the_outcome_and_nothing_else
            a_cell_that_is_reopened_begins_anew_and_only_so_often
            only_the_line_that_stands_is_reopened_or_replaced
            no_cell_of_a_scan_that_is_over_is_reopened_or_replaced
            the_counts_are_those_of_the_ledger
        );
        $crate::conformance::store::store_conformance!(@cases cancel, $factory, $runtime,
            a_scan_is_cancelling_before_it_ends
            while_cancelling_nothing_begins_and_what_is_done_is_handed_in
            only_a_cancelled_scan_is_reopened
            reopened_cells_go_on_from_their_last_checkpoint
            a_scan_is_cancelled_and_reopened_again_and_again
            cells_left_pending_by_a_cancelled_scan_stay_as_they_are
            an_account_that_was_never_read_is_probed_anew
            accounts_without_cells_stay_where_they_are
        );
        $crate::conformance::store::store_conformance!(@cases paging, $factory, $runtime,
            ten_thousand_cells_are_paged_in_their_order
            ten_thousand_accounts_are_paged_by_id
        );
        $crate::conformance::store::store_conformance!(@cases accounts, $factory, $runtime,
            a_status_is_replaced_whole
            a_status_is_changed_only_from_what_it_was
            the_history_grows_only_where_the_state_changes
            an_act_stands_in_the_history_and_changes_no_state
            a_denial_stays_open_until_it_is_closed
            denials_are_listed_oldest_first
            what_was_learned_is_kept_bucket_by_bucket
        );
        $crate::conformance::store::store_conformance!(@cases activity, $factory, $runtime,
            activity_is_merged_and_the_whole_is_answered
            activity_that_is_old_falls_out
            of_concurrent_additions_of_activity_none_is_lost
            forgotten_activity_is_gone_in_every_region_and_others_keep_theirs
            of_a_disconnected_account_no_activity_is_kept
        );
        $crate::conformance::store::store_conformance!(@cases model, $factory, $runtime,
            any_sequence_of_changes_agrees_with_the_model
        );
        $crate::conformance::store::store_conformance!(@cases shared, $factory, $timed,
            a_shared_bucket_gives_its_burst_and_then_its_rate
            a_shared_bucket_fills_up_to_its_burst_and_no_further
            shared_buckets_are_apart
            many_takers_get_no_more_than_one_would
            a_bucket_that_would_never_give_is_refused
        );
    };
    (@cases $part:ident, $factory:expr, $runtime:meta, $($case:ident)*) => {
        $(#[$runtime]
        async fn $case() {
            $crate::conformance::store::$part::$case(&$factory).await;
        })*
    };
}
pub(crate) use store_conformance;

fn scan_id(n: usize) -> ScanId {
    format!("scan-{n}").parse().expect("an id")
}

/// A scan that began `n` seconds after the first.
pub fn spec(n: usize) -> ScanSpec {
    ScanSpec {
        id: scan_id(n),
        plan: "plan".into(),
        started_at: at(i64::try_from(n).expect("small")),
        regions: vec!["eu-west-1".into()],
        services: vec!["lambda".into(), "iam".into()],
        catalogue: "catalogue".into(),
        operations: vec!["lambda:ListFunctions".into()],
        profile: "everything".into(),
        out: "file:///results".into(),
        accounts: 3,
        lane: Lane::Urgent,
        deadline_seconds: Some(3_600),
        profile_file: Some("name = \"own\"".into()),
        scheduled: true,
    }
}

fn probe() -> Probe {
    Probe {
        regions: vec!["eu-west-1".into(), "us-east-1".into()],
        source: RegionSource::AccountListRegions,
        at: at(60),
        calls: 3,
    }
}

/// A ledger line with something in every field.
fn line(cell: &Cell, outcome: Outcome) -> LedgerLine {
    LedgerLine {
        cell: cell.clone(),
        outcome,
        totals: WorkTotals { calls: 7, throttled: 1, records: 40, seconds: 1.25 },
        denied: Vec::new(),
        error: Some("ListFunctions: malformed".into()),
        started_at: Some(at(90)),
        attempts: 1,
        worker: "worker-1".into(),
        parts: vec![part("part-1-0000.jsonl.zst", 40)],
        catalogue: None,
    }
}

fn part(name: &str, records: u64) -> PartName {
    PartName { name: name.into(), records, sha256: "ab".repeat(32) }
}

/// A running scan whose accounts, those of the cells, are planned.
pub async fn planned_scan(store: &impl Store, n: usize, cells: &[Cell]) -> ScanId {
    let mut accounts: Vec<_> = cells.iter().map(|cell| cell.account.clone()).collect();
    accounts.dedup();
    let scan = scan_id(n);
    store.create_scan(&spec(n), &accounts).await.expect("created");
    for account in &accounts {
        assert!(store.record_probe(&scan, account, 1, Ok(probe())).await.expect("recorded"));
        let own: Vec<Cell> = cells.iter().filter(|cell| cell.account == *account).cloned().collect();
        store.plan_account(&scan, account, &own).await.expect("planned");
    }
    scan
}

/// All ledger lines of a small scan.
async fn whole_ledger(store: &impl Store, scan: &ScanId) -> Vec<LedgerLine> {
    store.ledger(scan, None, 10_000).await.expect("readable")
}

/// All pending cells of a small scan, with their generations.
async fn all_pending(store: &impl Store, scan: &ScanId) -> Vec<(Cell, u64)> {
    let pending = store.pending_cells(scan, None, None, 10_000).await.expect("readable");
    pending.into_iter().map(|p| (p.cell, p.generation)).collect()
}
