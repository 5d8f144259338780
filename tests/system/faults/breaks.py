"""Breaks the program on purpose: each break must make a test fail, which proves that the test can.

The tables name a break for each test, and the message of the failure.
`.venv/bin/python -m tests.system.faults.breaks [WORD ...]` runs each test under its
break: an hour for all of them; words choose tests or breaks by a part of their names.
"""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.system.faults.broken import batching, claiming, delivering, running, writing

BREAK = "FAULTS_BREAK"  # the break that a process starts with
ROOT = Path(__file__).resolve().parents[3]
STARTUP = Path(__file__).resolve().parent / "startup"
BACKGROUND, DRAMATIQ, ON_POSTGRESQL = "background+sqlite", "dramatiq+sqlite", "dramatiq+postgresql"
BREAKS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        name: function
        for module in (writing, claiming, delivering, running, batching)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
)


@dataclass(frozen=True, slots=True)
class Red:
    """The test fails under the break, and the pattern `says` matches its failure."""

    test: str
    under: str
    says: str
    on: str = ""  # one of the test's combinations; empty for the first


FLOWS = "every_flow_goes_on_through_kills"
FAULTS = (
    Red(
        "accepted_jobs_outlive_the_api", "answer_before_commit", "every_promised_job_is_in_the_ledger: .* was promised"
    ),
    Red("accepted_jobs_outlive_the_api", "keys_ignored", "each_request_has_one_job: .* (was given|has 2 jobs)"),
    Red("accepted_jobs_outlive_the_api", "effect_first_lost", "every_job_has_its_effect: .* without its effect"),
    Red("jobs_of_killed_workers_go_on_within_15_s", "no_rescue", "every job is over"),
    Red("jobs_of_killed_workers_go_on_within_15_s", "steps_forgotten", "no_finished_step_ran_again: .* had finished"),
    Red(
        "jobs_of_killed_workers_go_on_within_15_s",
        "crashes_counted",
        "crashes_and_shutdowns_count_against_no_job: .* LEASE_LOST",
    ),
    Red("accepted_jobs_outlive_the_api", "prunes_at_once", "no_effect_lacks_its_job: "),
    Red("accepted_jobs_outlive_the_api", "attempts_stand", "each_attempt_has_one_runner: "),
    Red("accepted_jobs_outlive_the_api", "figures_late", "the_history_has_every_move: .* are counted as"),
    Red("a_subscriber_of_a_killed_api_misses_nothing", "begins_anew", "the subscriber has seen every end"),
    Red(
        "a_stream_that_a_kill_has_cut_goes_on_at_its_offset", "begins_at_the_first_chunk", "has its chunks at|has ended"
    ),
    Red("a_stream_that_a_kill_has_cut_goes_on_at_its_offset", "last_chunks_lost", "has its chunks at|has emitted"),
    Red("many_jobs_of_two_crashes_go_on_within_15_s", "one_job_a_child", "every job is over|< 15"),
    Red("each_batch_is_followed_once_through_kills", "followed_twice", "every_batch_is_followed_once: .* 2 totals"),
    Red("messages_of_killed_workers_are_delivered_within_15_s", "fetched_forgotten", "every job is claimed"),
    Red("each_tick_of_killed_schedulers_is_one_job", "ticks_stand", "ticks with two jobs"),
    Red(
        "jobs_of_a_queue_go_on_only_where_it_is_taken",
        "every_queue_taken",
        "no job of the queue was left|another process ran",
    ),
    Red(
        "no_key_has_more_claims_than_its_limit_when_workers_are_killed",
        "keys_unlimited",
        "so many jobs of a customer had claims at once",
    ),
    Red("the_late_result_of_a_frozen_runner_is_refused", "no_fence", "every_move_is_legal: .* was changed after"),
    Red("a_deploy_fails_no_job", "stops_counted", "crashes_and_shutdowns_count_against_no_job: .* charged"),
    Red("a_deploy_fails_no_job", "stops_fail", "every_job_has_ended_as_expected: .* FAILED STOPPED"),
    Red("a_deploy_fails_no_job", "stops_dead", "cost .* their claims"),
    Red("a_process_ends_in_time_without_redis", "waits_for_all", "timed out after|assert max"),
    Red("hanging_threads_do_not_keep_a_process_alive", "waits_for_all", "timed out after|took .* s to end"),
    Red("one_of_several_processes_does_maintenance", "leader_for_life", "another one sweeps"),
    Red("jobs_are_accepted_without_redis", "no_maintenance", "every job is over"),
    Red("jobs_are_accepted_without_redis", "health_lies", "/health/ready says that Redis is away"),
    Red("jobs_are_accepted_while_redis_is_frozen", "blocking_delivery", "of the answers take"),
    Red("jobs_are_accepted_while_redis_is_full", "no_maintenance", "every job is over"),
    Red("a_redis_that_only_accepts_connections_delays_nothing", "blocking_delivery", "of the answers take"),
    Red("a_redis_that_only_accepts_connections_delays_nothing", "no_limits", "every job is over"),
    Red(
        "a_lost_reply_causes_at_most_a_second_delivery",
        "no_claim",
        "only_steps_in_progress_ran_twice: |every job is over",
    ),
    Red("slow_replies_delay_no_answer", "patient_delivery", "of the answers take"),
    Red("messages_that_redis_lost_are_delivered_again", "confirmed_for_ever", "every job is over"),
    Red("an_old_snapshot_of_redis_loses_nothing", "sentinel_alone", "every job is over"),
    Red("an_unreadable_message_affects_no_other", "undecodable_kills", "every job is over"),
    Red("a_locked_ledger_is_reported_within_its_timeout", "endless_patience", "no request was refused"),
    Red("a_full_disk_leaves_nothing_half_accepted", "answer_before_commit", "no answer says that the disk is full"),
    Red(
        "cut_connections_leave_nothing_half_done", "answer_before_commit", "every_promised_job_is_in_the_ledger: .* was"
    ),
    Red(
        "a_crash_of_postgresql_loses_nothing",
        "answer_before_commit",
        "every_promised_job_is_in_the_ledger: .* was promised",
    ),
    Red("bad_handlers_fail_with_a_reason", "exit_heeded", "a neighbour was disturbed|every job is over"),
    Red("a_blocked_event_loop_keeps_its_lease", "beat_on_the_loop", "assert .* == 1|no_live_process_was_declared_dead"),
    Red("a_blocked_event_loop_keeps_its_lease", "impatient", "assert .* == 1|no_live_process_was_declared_dead"),
    Red("a_leader_with_a_blocked_event_loop_resigns", "never_resigns", "the delayed job begins"),
    Red(
        "a_held_interpreter_lock_costs_no_second_run",
        "beat_on_the_loop",
        "assert .* == |no_live_process_was_declared_dead",
    ),
    Red("a_job_that_kills_its_process_is_poison", "run_stands", "each_run_has_one_end: run 1 .* ended 2 times"),
    Red("a_job_that_kills_its_process_is_poison", "never_isolated", "died .* times"),
    Red("jobs_unknown_to_a_release_fail_with_a_reason", "handler_missing_unsaid", "'INTERNAL'|every job is over"),
    Red("jobs_unknown_to_a_release_fail_with_a_reason", "parameters_unchecked", "'UNEXPECTED'|'SUCCEEDED'"),
    Red("mail_arrives_despite_failures_of_the_server", "mail_shrugged_off", "assert .* == "),
    Red("the_backend_may_change_with_jobs_pending", "no_reroute", "every job is over"),
    Red("a_wrong_clock_loses_nothing_and_claims_nothing_twice", "leases_by_the_clock", "no_live_process_was"),
    Red("every_point_of_one_process_is_survived", "answer_before_commit", "is not in the ledger"),
    Red("every_point_of_one_process_is_survived", "two_commits", "every_user_has_a_job: .* has no job"),
    Red("every_point_of_one_process_is_survived", "children_apart", "children_came_with_their_parents: "),
    Red(
        "a_kill_between_the_chunks_of_a_step_loses_none_of_its_jobs",
        "chunks_apart",
        "children_came_with_their_parents: .* is not in the ledger",
    ),
    Red("a_kill_before_the_answer_leaves_one_unique_job", "uniqueness_unread", r"assert \(.*False.* == "),
    Red(
        "a_kill_at_a_failure_brings_its_job_once",
        "failures_apart",
        "each_failure_brought_one_job: .* brought [2-9] jobs",
    ),
    Red("every_point_of_a_wait_is_survived", "early_signals_lost", "every job is over"),
    Red("every_point_of_a_neighbour_is_survived", "steps_forgotten", "no_finished_step_ran_again: .* had finished"),
    Red("every_point_of_a_delivery_is_survived", "keys_ignored", "each_request_has_one_job: .* has 2 jobs"),
    Red("every_point_of_a_worker_is_survived", "steps_forgotten", "no_finished_step_ran_again: .* had finished"),
    Red(FLOWS, "failures_shrugged_off", "every_batch_is_followed_once: .* is DONE"),
    Red(FLOWS, "second_signals_heeded", "every_signal_was_heeded: .* as to one"),
    Red(FLOWS, "sleeps_cut_short", "no_sleep_was_cut_short: "),
    Red(FLOWS, "last_chunks_lost", "every_stream_is_whole: "),
    Red(FLOWS, "uniqueness_unread", "no_unique_job_had_a_second: .* at once"),
    Red(FLOWS, "keys_unlimited", "no_key_ran_more_than_its_limit: "),
    Red(FLOWS, "keys_unlimited", "no_key_began_more_often_than_its_rate: "),
    Red(FLOWS, "never_put_off", "no_debounced_job_came_too_soon: .* too soon for"),
    Red(FLOWS, "expires_too_soon", "no_expired_job_had_begun: .* has expired"),
    Red(FLOWS, "ticks_stand", r"each_tick_is_one_job: .* has \d+ jobs"),
    Red("every_flow_goes_on_without_redis", "confirmed_for_ever", "every job is over"),
    Red("the_backend_may_change_with_jobs_pending", "last_chunks_lost", "every_stream_is_whole: "),
)
CONFORMANCE = (
    Red("an_accepted_job_runs_once_and_records_its_steps_and_attempts", "step_results_dropped", "None == {"),
    Red("every_delivery_that_is_confirmed_reaches_a_runner", "tenth_delivery_lost", "not within 20.0 s"),
    Red("a_delivery_does_not_block_the_event_loop", "delivery_holds_the_loop", "each deliver blocked the loop"),
    Red("a_delivery_raises_backend_error_and_nothing_else", "delivery_raises_anything", "deliver raised KeyError"),
    Red("all_jobs_of_a_request_run", "executed_twice", "assert .* == "),
    Red("a_job_whose_id_is_delivered_again_runs_once", "no_claim", r"\(2, |\(3, |\(4, |\(\d, \d\) == \(1, 1\)"),
    Red("jobs_accepted_while_no_worker_is_up_run_when_one_starts", "no_claimer", "after 20.0 s: .*QUEUED"),
    Red("a_delayed_job_runs_soon_after_its_time_and_not_before", "run_at_ignored", "SCHEDULED"),
    Red("a_delayed_job_runs_soon_after_its_time_and_not_before", "no_promotion", "after 20.0 s: .*SCHEDULED"),
    Red("a_job_with_a_past_time_runs_at_once", "past_is_later", "SCHEDULED"),
    Red("a_blocking_plain_function_delays_no_other_job", "plain_on_the_loop", "not within|TimeoutError"),
    Red("a_job_without_its_handler_fails_with_a_reason", "handler_missing_unsaid", "'INTERNAL'|every job is over"),
    Red("a_job_with_outdated_parameters_fails_with_a_reason", "parameters_unchecked", "'UNEXPECTED'"),
    Red("a_handler_that_holds_the_interpreter_s_lock_is_not_dead", "neighbours_by_heartbeat", "1, 2\\) == |2 == 1"),
    Red("a_handler_with_a_process_of_its_own_is_killed_with_its_job", "never_killed", "after 20.0 s: .*CANCELLING"),
    Red("one_failing_job_stops_no_other", "failures_unrecorded", "after 20.0 s: .*conformance.permanent"),
    Red("a_failed_attempt_is_retried_until_it_succeeds", "no_retries", "FAILED"),
    Red("the_wait_between_attempts_is_the_policy_s", "waits_too_long", "assert .* <= "),
    Red("a_job_that_never_succeeds_fails_after_its_last_attempt", "one_attempt_more", "assert .*5 == 4"),
    Red("a_permanent_error_fails_at_once_with_the_handler_s_message", "permanent_retried", "assert 4 == 1|4 == .*1"),
    Red("the_next_attempt_goes_on_with_the_step_that_failed", "steps_forgotten", "2 diff: 'first' != 'second'"),
    Red("steps_after_one_that_failed_for_good_are_skipped", "steps_left_open", "SKIPPED"),
    Red("a_handler_with_an_unstorable_message_still_ends", "words_as_they_are", "INTERNAL|FAILED"),
    Red("a_handler_that_calls_sys_exit_fails_and_ends_no_process", "exit_heeded", "after 20.0 s"),
    Red("a_handler_that_awaits_a_cancelled_task_has_failed", "cancelled_for_good", "after 20.0 s"),
    Red("a_handler_past_its_time_limit_is_stopped", "no_time_limit", "after 20.0 s: .*RUNNING"),
    Red("a_handler_chooses_the_delay_of_its_next_attempt", "delays_ignored", "assert .* == "),
    Red("an_attempt_that_is_not_charged_leaves_the_budget", "delays_ignored", "FAILED"),
    Red("the_most_specific_class_of_an_error_chooses_its_policy", "classes_ignored", "assert 1 == 3|== .*3"),
    Red("the_ends_of_a_handler_with_a_process_of_its_own_are_the_same", "delays_ignored", "BUSY"),
    Red("the_history_agrees_with_the_jobs", "figures_late", "assert Counter.* == Counter"),
    Red("a_job_that_has_not_begun_by_its_time_is_cancelled", "no_expiry", "after 20.0 s: .*QUEUED"),
    Red("a_job_of_a_paused_handler_expires", "no_expiry", "after 20.0 s: .*QUEUED"),
    Red("a_job_that_has_begun_does_not_expire", "expires_though_begun", "after 20.0 s: .*QUEUED"),
    Red("a_failure_brings_one_job_with_its_commit", "failures_unnoticed", "not enough values to unpack"),
    Red("each_run_that_fails_brings_a_job_and_no_other_end_does", "every_end_noticed", r"assert \["),
    Red("a_job_that_is_refused_loses_no_failure", "refusals_raised", "after 20.0 s|INTERNAL"),
    Red("a_result_comes_back_as_it_was_returned", "results_as_text", "assert .* == "),
    Red("a_result_below_the_cap_is_kept", "low_cap", "None == .*63000"),
    Red("an_invalid_result_fails_the_job_with_a_reason", "results_unchecked", "SUCCEEDED|INTERNAL"),
    Red("a_long_backlog_is_worked_off", "slots_leak", "after 20.0 s: .*QUEUED"),
    Red("a_dispatched_job_runs_once_its_parent_has_succeeded", "children_apart", r"assert \d+ == \d+"),
    Red("many_dispatched_jobs_run_once_each", "chunks_of_now", r"assert \d+ == \d+"),
    Red("a_step_that_fails_dispatches_nothing", "children_apart", "is None"),
    Red(
        "what_follows_a_batch_runs_once_with_its_results_in_order", "followed_twice", r"assert \(\d+, 2\) == \(\d+, 1\)"
    ),
    Red("what_follows_a_batch_runs_once_with_its_results_in_order", "results_backwards", "assert .* == "),
    Red("a_child_that_fails_stops_its_batch", "failures_shrugged_off", "not within 20"),
    Red("a_batch_may_hold_batches", "nested_forgotten", "assert 1 == 0|== .0, None, 1, .0, 1.."),
    Red("an_empty_batch_is_followed_at_once", "never_followed", "not within 20"),
    Red("a_cancelled_batch_is_followed_by_nothing", "children_left_alone", "not within 20"),
    Red("a_retried_batch_runs_what_has_failed_and_then_what_follows", "retries_no_child", "assert .* == "),
    Red("a_child_that_is_cancelled_is_over", "ends_elsewhere_unseen", "not within 20"),
    Red("a_batch_whose_maker_is_killed_is_made_once", "staged_at_once", r"assert \(\d+, 1\) == \(\d+, 1\)"),
    Red("a_waiting_job_is_cancelled_at_once_and_never_runs", "cancels_only_what_runs", "QUEUED"),
    Red("a_scheduled_job_is_cancelled_and_does_not_run_at_its_time", "cancels_only_what_runs", "SCHEDULED"),
    Red("a_running_job_is_stopped", "no_polling", "after 1.5 s: .*CANCELLING"),
    Red("a_job_is_stopped_between_its_steps", "checks_nothing", "SUCCEEDED|assert 1 == 0"),
    Red("a_job_that_ends_while_cancelling_keeps_its_outcome", "cancelled_anyway", "CANCELLED"),
    Red("a_finished_job_cannot_be_cancelled", "cancels_what_is_over", "DID NOT RAISE"),
    Red("a_job_that_waits_for_its_next_attempt_is_cancelled", "cancels_only_what_runs", "RETRYING"),
    Red("a_job_sleeps_between_two_steps", "waits_for_ever", "after 20.0 s: .*WAITING"),
    Red("a_job_sleeps_between_two_steps", "sleeps_hand_nothing_on", "FAILED"),
    Red("a_signal_ends_a_wait_with_its_typed_payload", "payloads_untyped", "FAILED"),
    Red("a_signal_may_come_before_its_wait", "early_signals_lost", "after 20.0 s: .*WAITING"),
    Red("waits_follow_one_another", "waits_for_ever", "after 20.0 s: .*WAITING"),
    Red("a_wait_without_a_signal_fails_at_its_timeout", "timeouts_pass", "SUCCEEDED|FAILED|WAIT_TIMEOUT"),
    Red("a_default_takes_the_place_of_a_signal_at_the_timeout", "waits_for_ever", "after 20.0 s: .*WAITING"),
    Red("a_waiting_step_is_cancelled_at_once_and_waits_again_at_a_retry", "cancels_only_what_runs", "WAITING"),
    Red("a_waiting_step_is_cancelled_at_once_and_waits_again_at_a_retry", "retries_from_the_start", r"\(2, 1\)"),
    Red("a_signal_belongs_to_its_run", "signals_of_any_run", "SUCCEEDED"),
    Red("of_two_signals_at_once_one_counts", "second_signals_heeded", r"assert \[\] == "),
    Red("a_wrong_signal_is_refused", "payloads_unchecked", "DID NOT RAISE"),
    Red("a_wait_outlives_every_process", "no_claimer", "after 20.0 s: .*QUEUED"),
    Red("waiting_jobs_hold_no_slot", "waits_hold_slots", "after 20.0 s: .*QUEUED"),
    Red("a_retry_goes_on_with_the_step_that_failed", "retries_from_the_start", "2 diff: 'first' != 'second'"),
    Red("a_retry_from_the_start_runs_every_step_again", "never_from_the_start", "2 diff: 'second' != 'first'"),
    Red("a_retry_has_a_fresh_budget_of_attempts", "budget_kept", "assert 5 == "),
    Red("a_cancelled_job_can_be_retried", "only_failed_retried", "only FAILED and CANCELLED jobs can be retried"),
    Red("only_failed_and_cancelled_jobs_can_be_retried", "retries_anything", "DID NOT RAISE"),
    Red("a_bulk_retry_takes_the_oldest_first", "newest_first", "assert .*job_.* == "),
    Red("a_unique_job_is_there_once_however_many_ask_for_it", "uniqueness_unread", r"assert \d+ == 1"),
    Red("a_debounced_job_runs_once_after_the_last_call", "never_put_off", r", False\) == "),
    Red("a_retry_is_refused_while_another_unique_job_is_there", "uniqueness_unread", "DID NOT RAISE"),
    Red("a_watcher_sees_growing_versions_up_to_the_end", "old_changes_again", "versions|== sorted|assert .* == "),
    Red("a_watcher_knows_of_the_end_soon", "slow_looks", "< 5.0"),
    Red("a_watcher_sees_progress_while_the_job_runs", "no_progress", ">= 3"),
    Red("a_watcher_sees_progress_while_the_job_runs", "every_report_written", "<= "),
    Red("a_watcher_of_all_jobs_misses_no_end", "changes_skipped", "TimeoutError"),
    Red("a_watcher_that_comes_back_gets_what_it_has_missed", "begins_anew", "TimeoutError"),
    Red("a_reader_gets_every_chunk_once_and_in_order", "last_chunks_lost", r"assert \(not \[|the end"),
    Red("a_reader_gets_every_chunk_once_and_in_order", "begins_at_the_first_chunk", "assert .* == "),
    Red("the_output_of_each_attempt_is_told_apart", "attempts_alike", "assert .* == "),
    Red("a_handler_in_a_process_of_its_own_emits_as_any_other", "processes_mute", r"assert \[\] == "),
    Red("the_log_lines_of_each_attempt_and_step_are_told_apart", "last_lines_lost", r"assert \[\] == "),
    Red("a_reader_goes_on_when_the_worker_of_a_stream_is_killed", "attempts_alike", "assert .* == "),
    Red("a_paused_handler_starts_no_job_until_it_is_resumed", "pauses_ignored", "not within 20"),
    Red("a_paused_handler_starts_no_job_until_it_is_resumed", "blocked_for_ever", "after 20.0 s"),
    Red("jobs_of_a_higher_priority_run_before_a_long_queue", "all_alike", "< 64|> 336"),
    Red("jobs_of_a_queue_run_only_where_it_is_taken", "every_queue_taken", "not within 20.0 s"),
    Red("the_concurrency_limit_holds_over_all_processes", "limits_unread", "<= 2"),
    Red("the_slots_of_a_killed_worker_s_jobs_become_free", "no_rescue", "after 20.0 s"),
    Red("no_period_has_more_starts_than_the_rate_allows", "limits_unread", "assert False"),
    Red("the_limit_of_a_key_holds_over_all_processes", "keys_unlimited", "assert .* == "),
    Red("a_long_backlog_of_one_key_delays_no_other", "keys_unlimited", "assert .* == .*KEY"),
    Red("handlers_share_a_limit_by_its_name", "names_unshared", "assert .* == "),
    Red("retries_and_cancels_pass_the_place_of_a_key_on", "places_kept", "after 20.0 s: .*KEY"),
    Red("the_places_of_a_killed_worker_s_keys_become_free", "places_kept", "not within|after 20.0 s"),
    Red("no_period_has_more_starts_of_a_key_than_its_rate_allows", "keys_unlimited", "assert False"),
    Red("a_job_that_ends_within_the_drain_deadline_is_finished", "stops_at_once", "after 20.0 s: .*QUEUED"),
    Red("a_job_that_does_not_end_is_handed_back_without_an_attempt", "stops_counted", "1, 0"),
    Red("an_error_during_a_shutdown_counts_as_no_attempt", "stops_fail", "FAILED"),
    Red("a_hanging_thread_does_not_keep_the_process_alive", "waits_for_all", "TimeoutError"),
    Red("a_worker_frozen_past_its_lease_can_change_nothing", "no_fence", "assert Job.* == Job"),
    Red("a_killed_worker_s_job_is_claimed_again_and_resumes_its_step", "no_rescue", "not within 15.0 s"),
    Red(
        "a_killed_worker_s_job_is_claimed_again_and_resumes_its_step",
        "steps_forgotten",
        "2 diff: 'first' != 'second'",
    ),
    Red("each_tick_of_a_schedule_is_one_job", "ticks_stand", r"assert \(\d+, {.*}\) == "),
    Red("a_paused_schedule_makes_no_job_until_it_is_resumed", "ticks_though_paused", r"assert \d+ == \d+"),
    Red(
        "a_schedule_that_is_run_now_makes_one_job_and_keeps_its_ticks", "runs_at_the_next_tick", "after 20.0 s: .*SCHED"
    ),
    Red("a_deleted_schedule_makes_no_more_jobs", "deletions_ignored", r"assert \d+ == \d+"),
    Red("a_tick_is_skipped_while_the_last_job_is_not_over", "overlaps_ignored", "not within 20"),
    Red("the_lifespan_is_entered_before_the_first_job", "lifespan_not_entered", "FAILED"),
    Red("the_lifespan_is_left_after_the_last_job", "lifespan_left_at_once", "False.* == .*True"),
    Red("jobs_that_waited_in_a_killed_worker_run_elsewhere", "no_rescue", "after 15.0 s"),
    Red("a_job_that_kills_its_process_is_poison_and_counts_against_no_other", "never_isolated", "assert 7 == 3"),
)
LEDGER_MODEL = "tests/integration/jobs/test_ledger_model.py::test_the_ledger_keeps_its_invariants_on_sqlite"
POWER = "tests/system/faults/test_power.py::test_no_answer_leaves_before_the_journal_is_synced"
LATE_COMMITS = "tests/integration/graphql/test_resume.py::test_a_commit_that_ends_late_is_not_missed"
OTHERS = (  # by the test's own name
    Red(LATE_COMMITS, "open_ones_forgotten", "TimeoutError|assert .* in "),
    Red(POWER, "no_sync", r"assert \['job_"),
    Red(LEDGER_MODEL, "no_claim", "assert .*QUEUED"),
    Red(LEDGER_MODEL, "no_fence", "assert .* == [(]"),
    Red(LEDGER_MODEL, "crashes_counted", "charged"),
    Red(LEDGER_MODEL, "cancelled_anyway", "assert .*CANCELLED"),
    Red(LEDGER_MODEL, "counters_stand", "recount|ledger.counts"),
    Red(LEDGER_MODEL, "figures_stand", r"assert \[\] == "),
    Red(LEDGER_MODEL, "cancels_what_is_over", "TERMINAL|not in"),
    Red(LEDGER_MODEL, "retries_anything", "RETRYABLE| in "),
    Red(LEDGER_MODEL, "retries_from_the_start", "assert .* == .*Step"),
    Red(LEDGER_MODEL, "budget_kept", "assert .* == "),
    Red(LEDGER_MODEL, "run_at_ignored", "SCHEDULED"),
)


def broken(name: str) -> dict[str, str]:
    """Return the environment of a Python process that has the break from its start, as do its children."""
    return {BREAK: name, "PYTHONPATH": os.pathsep.join([str(STARTUP), str(ROOT)])}


def install(name: str) -> None:
    """Break this process. Raises KeyError for an unknown break, and AttributeError as `put` does."""
    BREAKS[name]()


if __name__ == "__main__":
    from tests.system.faults import trial

    sys.exit(trial.main(sys.argv[1:]))
