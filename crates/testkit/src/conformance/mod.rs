//! What every catalog and every object store has to do, as suites that are instantiated for each of them.

pub mod backends;
pub mod catalog;
pub mod checks;
pub mod objects;
pub mod pairs;
pub mod rows;

/// Instantiates the catalog suite for a [`backends::CatalogBackend`].
#[macro_export]
macro_rules! catalog_suite {
    ($backend:ty) => {
        $crate::catalog_suite!(@ $backend;
            basics::values_are_set_once_or_replaced,
            basics::migrations_run_once_however_many_start,
            basics::accounts_and_policies,
            basics::holds_and_tokens,
            basics::a_restart_loses_nothing,
            basics::an_older_catalog_is_brought_up_to_date,
            credentials::tokens_are_rotated_once,
            credentials::the_owner_keeps_a_way_in,
            credentials::users_are_found_changed_and_removed,
            credentials::sessions_end_with_what_they_hang_on,
            credentials::a_question_is_asked_once,
            keys::epochs_close_and_go,
            keys::rewrap_moves_what_still_exists,
            keys::no_key_enters_a_closed_epoch,
            partitions::the_winner_of_a_race_is_everybodys,
            partitions::rows_are_new_once,
            partitions::a_stale_key_adds_nothing,
            partitions::other_rules_destroy_nothing,
            partitions::seal_replaces_loose_rows,
            partitions::merged_objects_become_garbage,
            partitions::rewrite_changes_the_key,
            partitions::no_acknowledged_row_is_lost_to_a_rewrite,
            imports::imports_commit_with_their_progress,
            partitions::lists_find_what_is_to_do,
            imports::staged_objects_are_taken_over_or_cleaned,
            shreds::shredding_leaves_garbage_that_is_purged_in_portions,
            shreds::a_missing_key_destroys_nothing,
            shreds::closing_an_account_takes_everything,
            shreds::the_last_piece_finishes_the_leaf,
            shreds::leaf_indexes_have_no_gap,
            shreds::a_replay_destroys_again,
            recordings::recordings_are_found,
            recordings::recordings_page_in_both_orders,
            documents::a_name_is_had_once,
            documents::a_change_destroys_the_old_key,
            documents::lists_count_their_members,
            documents::documents_are_listed_in_pages,
            jobs::leases_exclude_each_other,
            jobs::many_workers_share_jobs,
            dumps::a_dump_loads_into_an_empty_catalog,
            dumps::a_damaged_dump_loads_nothing,
            dumps::an_older_dump_loads,
        );
    };
    (@ $backend:ty; $($module:ident :: $case:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(backend) = <$backend as $crate::conformance::backends::CatalogBackend>::start().await {
                    $crate::conformance::catalog::$module::$case(&backend).await;
                }
            }
        )*
    };
}

/// Instantiates the object store suite for a [`backends::ObjectsBackend`].
#[macro_export]
macro_rules! objects_suite {
    ($backend:ty) => {
        $crate::objects_suite!(@ $backend;
            objects_come_back_whole,
            ranges_end_with_the_object,
            uploads_appear_when_finished,
            aborted_uploads_leave_nothing,
            lists_find_a_prefix,
            wrong_names_are_refused,
            many_writers_do_not_mix,
        );
    };
    (@ $backend:ty; $($case:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(backend) = <$backend as $crate::conformance::backends::ObjectsBackend>::start().await {
                    $crate::conformance::objects::$case(&backend).await;
                }
            }
        )*
    };
}
