//! What every store must do. Each member runs the whole suite.
//!
//! The sentences are the names of the functions; each gets a store of its own, newly made and booted.

mod actions;
mod alike;
mod applications;
mod batches;
mod campaigns;
mod children;
mod devices;
mod forgetting;
mod groups;
mod imports;
mod keys;
mod lists;
mod logs;
mod modules;
mod notes;
mod packages;
mod pushes;
mod random;
mod spaces;
mod world;

use crate::Store;

use self::world::World;

/// Runs every case, each on a store that `open` makes for it: empty, and not booted.
///
/// # Panics
///
/// When the store does not behave.
pub async fn behaves_like_a_store(open: impl AsyncFn() -> Store) {
    macro_rules! each {
        ($($module:ident: $($case:ident),+;)+) => {$($(
            $module::$case(&World::new(open().await).await).await;
        )+)+};
    }
    each! {
        logs:
            the_first_opening_makes_a_project_and_every_opening_is_counted,
            the_last_heartbeat_is_what_the_next_run_hears,
            a_token_is_known_by_its_hash_until_it_is_revoked,
            every_change_an_operator_asks_for_names_the_actor,
            the_audit_log_is_paged_newest_first,
            what_was_kept_aside_can_be_looked_at;
        spaces:
            a_space_is_made_renamed_and_deleted,
            a_space_that_something_is_in_stays,
            lists_are_about_all_spaces_or_one;
        modules:
            a_module_is_made_changed_and_deleted,
            a_product_has_a_few_modules_and_takes_them_with_it;
        packages:
            a_product_is_there_once,
            an_artifact_may_be_noted_twice,
            a_package_needs_its_product_and_its_artifact,
            a_version_of_a_product_and_kind_is_there_once,
            a_package_that_a_campaign_names_is_not_deleted,
            a_package_may_be_made_before_its_bytes_are_here,
            a_package_that_is_deleted_is_not_read_any_more,
            products_and_packages_are_paged_without_gaps;
        devices:
            a_device_is_found_by_its_id_and_its_key,
            a_taken_id_or_node_id_is_refused,
            a_child_hangs_on_a_gateway_and_there_is_no_third_level,
            a_patch_changes_what_it_names_and_nothing_else,
            tags_are_added_and_removed_beside_those_that_a_device_has,
            a_deleted_device_is_gone_and_its_id_is_free,
            the_deployments_of_a_deleted_device_keep_its_id,
            a_device_in_use_is_not_deleted,
            devices_are_found_by_product_tags_and_gateway,
            devices_are_paged_without_gaps,
            what_belongs_to_another_project_does_not_exist,
            connecting_asks_for_a_few_facts,
            a_device_may_have_a_certificate_in_place_of_a_secret,
            a_list_of_ids_is_answered_in_its_order,
            the_children_with_work_are_those_with_something_unfinished;
        applications:
            an_access_key_is_known_until_it_is_revoked,
            a_product_is_renamed_and_deleted_when_nothing_has_it,
            things_keep_what_applications_say_about_them,
            members_are_changed_beside_those_that_a_thing_has,
            lists_with_the_newest_first_are_paged_and_counted,
            devices_are_searched_for_by_what_holds_for_them,
            campaigns_and_deployments_are_listed_newest_first,
            a_child_moves_to_another_gateway_and_both_hear_of_it,
            a_child_at_work_does_not_move;
        pushes:
            a_rule_and_its_actions_are_made_changed_and_deleted,
            what_changes_is_due_once_until_it_was_told,
            a_task_is_due_again_when_the_last_of_it_has_ended,
            a_rule_that_is_not_in_force_makes_nothing_due,
            what_was_not_taken_is_kept_the_newest_first;
        keys:
            all_secrets_are_sealed_again_or_none;
        imports:
            an_import_makes_each_device_as_registering_it_does,
            an_import_may_be_repeated_and_changes_nothing,
            what_cannot_be_imported_is_no_obstacle_for_the_others,
            a_child_is_imported_after_its_gateway,
            an_import_leaves_one_line_in_the_audit_log_that_names_the_count;
        campaigns:
            a_campaign_begins_empty_and_in_preparation,
            a_campaign_needs_its_product_and_packages,
            ten_thousand_devices_are_filled_in_chunks,
            a_list_is_filled_in_its_order_and_strangers_are_left_out,
            tags_choose_the_devices,
            preferred_devices_come_first_and_only_once,
            a_device_deleted_meanwhile_gets_no_deployment,
            a_campaign_that_has_ended_is_not_filled_further,
            a_campaign_moves_only_from_where_it_is_expected,
            starting_and_ending_leave_their_times,
            a_campaign_starts_by_itself_once_its_time_has_come,
            a_schedule_is_changed_and_taken_away_until_the_start,
            campaigns_are_listed_newest_first,
            queued_deployments_are_released_in_chunks,
            the_deployments_of_a_device_come_newest_first;
        lists:
            deployments_are_listed_by_label_and_paged_without_gaps,
            failures_are_listed_by_the_code_of_their_last_report,
            a_code_counts_once_the_deployment_has_ended,
            failures_are_counted_by_how_they_ended_the_most_frequent_first,
            the_runs_of_a_device_come_newest_first,
            the_reports_of_a_campaign_are_found_among_the_others,
            campaigns_are_listed_by_state_product_and_name,
            a_campaign_is_read_without_the_list_of_its_devices,
            a_deleted_device_is_told_nothing_more;
        batches:
            what_is_wanted_is_loaded_with_all_that_belongs_to_it,
            what_does_not_exist_is_absent,
            what_a_batch_writes_the_next_one_loads,
            a_batch_that_breaks_a_rule_leaves_nothing,
            each_rule_has_its_refusal,
            a_decision_that_panics_leaves_nothing,
            a_device_has_at_most_one_deployment_at_work,
            one_campaign_may_take_a_device_over_within_a_batch,
            what_finishes_becomes_the_last_finished,
            what_was_never_asked_does_not_become_the_last_finished,
            reports_hang_on_each_other_across_batches,
            reports_may_come_without_a_change_of_the_device,
            due_deployments_come_earliest_first,
            the_next_wake_is_the_earliest_deadline,
            unfinished_deployments_are_walked_page_by_page,
            lines_stay_in_the_outbox_until_said_or_silenced,
            a_new_run_forgets_what_was_to_be_said,
            a_campaign_ends_once;
        actions:
            a_further_run_takes_the_place_of_the_one_before,
            what_is_finished_stays_when_there_is_a_further_run,
            a_further_run_that_breaks_a_rule_leaves_nothing,
            the_latest_runs_are_found_by_device_and_by_label,
            a_campaign_that_finished_goes_on_with_a_further_run,
            what_was_asked_is_there_until_it_is_done,
            nothing_is_asked_of_a_campaign_in_another_state_or_of_one_that_has_enough_to_do;
        children:
            what_a_gateway_registers_in_a_batch_is_a_child_since,
            what_cannot_be_registered_is_known_before_and_leaves_nothing,
            a_child_is_taken_out_once_its_deployments_have_ended,
            the_topology_tells_what_came_and_went_since_a_version,
            whether_a_child_is_there_is_remembered,
            a_campaign_in_gateway_mode_knows_how_many_children_each_gateway_has_in_it;
        notes:
            the_last_of_what_a_device_says_is_kept,
            what_is_kept_of_a_device_is_bounded,
            what_a_deleted_device_said_is_gone;
        forgetting:
            reports_are_forgotten_from_the_front_and_histories_end_there,
            a_younger_row_before_older_ones_stays_and_does_not_hold_them,
            lines_of_logs_are_forgotten_by_age,
            an_emptied_log_does_not_give_its_places_again,
            an_artifact_in_a_package_is_not_deleted,
            an_artifact_is_unused_since_its_last_upload_or_package,
            only_a_campaign_that_has_ended_is_deleted,
            a_deleted_campaign_is_in_no_list_and_its_deployments_go_in_chunks,
            a_device_goes_on_after_the_campaign_that_finished_last_is_deleted,
            campaigns_are_old_by_their_end;
        groups:
            a_group_is_found_by_its_id_and_changed,
            a_taken_group_id_or_name_is_refused,
            groups_are_listed_oldest_first_and_by_a_part_of_their_name,
            devices_come_and_go_and_are_counted,
            a_device_that_is_deleted_leaves_its_groups,
            a_device_is_in_so_many_groups_and_not_in_more,
            groups_choose_devices_together_with_tags_and_product,
            a_campaign_is_for_those_in_any_of_its_groups_once,
            a_group_goes_at_once_and_its_members_afterwards;
        random:
            counters_are_what_a_recount_says_after_any_history;
        alike:
            what_applications_do_leads_to_the_same_in_every_store;
    }
}
