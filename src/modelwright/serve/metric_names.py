"""Every metric that a server shows: its name, kind, meaning, and how workers' values are joined."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Join = Literal["sum", "max"]


class Family(msgspec.Struct, frozen=True):
    """A metric. `join` says how the gauges of several workers become one."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    join: Join = "sum"


_VERSION = ("model", "version")

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("modelwright_requests_total", "counter", "Requests by door and HTTP code.",
               ("code", "door", *_VERSION)),
        Family("modelwright_errors_total", "counter",
               "Requests that were refused or failed; of gRPC also those that reached no method.",
               ("class", "door", "model", "reason")),
        Family("modelwright_request_seconds", "histogram",
               "From the first byte of a request to its answer, of answered ones.",
               ("door", *_VERSION)),
        Family("modelwright_inference_seconds", "histogram", "Time of one run of the graph.",
               _VERSION),
        Family("modelwright_batch_rows", "histogram", "Rows in one run of the graph.", _VERSION),
        Family("modelwright_queue_seconds_total", "counter",
               "Time that requests waited for a run, added up.", _VERSION),
        Family("modelwright_read_seconds_total", "counter",
               "Time for reading and checking requests, added up.", _VERSION),
        Family("modelwright_write_seconds_total", "counter",
               "Time for writing answers, added up.", _VERSION),
        Family("modelwright_rows_total", "counter", "Rows answered.", _VERSION),
        Family("modelwright_in_flight", "gauge", "Requests that are being worked on."),
        Family("modelwright_queue_depth", "gauge", "Requests that wait for a run."),
        Family("modelwright_cache_hits_total", "counter", "Answers that were remembered.",
               _VERSION),
        Family("modelwright_cache_misses_total", "counter", "Answers that were looked for in the "
               "cache and not found.", _VERSION),
        Family("modelwright_fallback_total", "counter",
               "Answers by a stand-in: previous, baseline, constant.", ("kind", *_VERSION)),
        Family("modelwright_not_finite_total", "counter",
               "Requests whose answer was no finite number, so that it was not given.", _VERSION),
        Family("modelwright_arm_total", "counter",
               "Answers by arm: champion, canary, a, b, pinned, shadow.", ("arm", *_VERSION)),
        Family("modelwright_shadow_rows_total", "counter",
               "Rows that a shadow answered and that were compared.", _VERSION),
        Family("modelwright_shadow_disagreements_total", "counter",
               "Rows in which the shadow's answer was another.", _VERSION),
        Family("modelwright_breaker_state", "gauge", "0 closed, 1 half open, 2 open.",
               _VERSION, "max"),
        Family("modelwright_unseen_categories_total", "counter",
               "Category values that training never saw.", ("column", *_VERSION)),
        Family("modelwright_out_of_range_total", "counter",
               "Numbers outside the training range.", ("column", *_VERSION)),
        Family("modelwright_missing_total", "counter", "Missing values.", ("column", *_VERSION)),
        Family("modelwright_unknown_columns_total", "counter",
               "Columns that the model never saw.", ("column", *_VERSION)),
        Family("modelwright_score", "histogram",
               "Probability of the positive class, of the likeliest class, or the value.",
               _VERSION),
        Family("modelwright_predictions_total", "counter", "Rows by predicted class.",
               ("label", *_VERSION)),
        Family("modelwright_model_info", "gauge", "1 for each version that is loaded.",
               ("digest", "family", *_VERSION), "max"),
        Family("modelwright_model_loaded_timestamp_seconds", "gauge", "When it was loaded.",
               _VERSION, "max"),
        Family("modelwright_model_made_timestamp_seconds", "gauge", "When it was packed.",
               _VERSION, "max"),
        Family("modelwright_model_age_seconds", "gauge", "Time since it was packed.",
               _VERSION, "max"),
        Family("modelwright_limit", "gauge",
               "A limit of the spec, in seconds, bytes, per second or the metric's own unit.",
               ("metric", *_VERSION), "max"),
        Family("modelwright_reloads_total", "counter", "Changes of a served version by outcome.",
               ("model", "outcome")),
        Family("modelwright_secret_reloads_total", "counter",
               "Files of certificates and tokens that were read again, by outcome.",
               ("outcome", "what")),
        Family("modelwright_access_log_dropped_total", "counter",
               "Lines that the access log had no room for."),
        Family("modelwright_journal_rows_total", "counter", "Rows that the journal has written."),
        Family("modelwright_journal_dropped_total", "counter",
               "Rows that the journal lost: no room in its queue, or no way to write them.",
               ("reason",)),
        Family("modelwright_journal_unwritable", "gauge",
               "Workers whose journal cannot be written now."),
        Family("modelwright_journal_restarts_total", "counter",
               "Processes of the journal that ended before their worker."),
        Family("modelwright_labels_total", "counter", "Labels that were kept.", ("model",)),
        Family("modelwright_labels_refused_total", "counter",
               "Requests with labels that were refused for what was in them.", ("model",)),
        Family("modelwright_worker_restarts_total", "counter",
               "Workers that were started in the place of one that ended."),
        Family("modelwright_workers", "gauge", "Workers that are alive."),
        Family("modelwright_info", "gauge", "1; which software this is.",
               ("python", "version"), "max"),
        Family("modelwright_memory_bytes", "gauge",
               "Memory of supervisor and workers; what they share counts once."),
        Family("process_cpu_seconds_total", "counter", "User and system time of a worker.",
               ("worker",)),
        Family("process_resident_memory_bytes", "gauge", "Memory of a worker.", ("worker",)),
        Family("process_start_time_seconds", "gauge", "When a worker started.", ("worker",)),
        Family("process_open_fds", "gauge", "Open files and sockets of a worker.", ("worker",)),
        Family("modelwright_gpu_utilization", "gauge", "Share of the last moments it was busy.",
               ("gpu",), "max"),
        Family("modelwright_gpu_memory_used_bytes", "gauge", "Used memory of a GPU.",
               ("gpu",), "max"),
        Family("modelwright_gpu_memory_total_bytes", "gauge", "Memory of a GPU.",
               ("gpu",), "max"),
        # Names of other servers, so that their dashboards work; made of the above.
        Family("model_infer_request_success_total", "counter", "MLServer: answered requests.",
               _VERSION),
        Family("model_infer_request_failure_total", "counter", "MLServer: failed requests.",
               _VERSION),
        Family("model_infer_request_duration", "histogram", "MLServer: time of answered requests.",
               _VERSION),
        Family("rest_server_request_duration_seconds", "histogram",
               "MLServer: time of answered HTTP requests.", ("path",)),
        Family("rest_server_requests_total", "counter", "MLServer: HTTP requests.",
               ("path", "status_code")),
        Family("rest_server_requests_in_progress", "gauge", "MLServer: requests in work."),
        Family("grpc_server_handled_total", "counter", "MLServer: gRPC requests.",
               ("grpc_code", "grpc_method", "grpc_service", "grpc_type")),
        Family("batch_request_queue", "gauge", "MLServer: requests that wait for a run."),
        Family("request_predict_seconds", "histogram", "KServe: time of one run of the graph.",
               ("model_name",)),
        Family("nv_inference_request_success", "counter", "Triton: answered requests.", _VERSION),
        Family("nv_inference_request_failure", "counter", "Triton: failed requests.",
               ("model", "reason", "version")),
        Family("nv_inference_count", "counter", "Triton: rows through the graph.", _VERSION),
        Family("nv_inference_exec_count", "counter", "Triton: runs of the graph.", _VERSION),
        Family("nv_inference_request_duration_us", "counter", "Triton: time of requests.",
               _VERSION),
        Family("nv_inference_queue_duration_us", "counter", "Triton: time in the queue.",
               _VERSION),
        Family("nv_inference_compute_input_duration_us", "counter", "Triton: time of reading.",
               _VERSION),
        Family("nv_inference_compute_infer_duration_us", "counter", "Triton: time of runs.",
               _VERSION),
        Family("nv_inference_compute_output_duration_us", "counter", "Triton: time of writing.",
               _VERSION),
        Family("nv_inference_pending_request_count", "gauge", "Triton: requests that wait."),
        Family("nv_cache_num_hits_per_model", "counter", "Triton: remembered answers.", _VERSION),
        Family("nv_cache_num_misses_per_model", "counter", "Triton: answers not remembered.",
               _VERSION),
        Family("nv_gpu_utilization", "gauge", "Triton: busy share of a GPU.", ("gpu_uuid",),
               "max"),
        Family("nv_gpu_memory_used_bytes", "gauge", "Triton: used memory of a GPU.",
               ("gpu_uuid",), "max"),
        Family("nv_gpu_memory_total_bytes", "gauge", "Triton: memory of a GPU.",
               ("gpu_uuid",), "max"),
    )
}  # fmt: skip
"""Name -> metric, in the order of the page. Labels are in the order of the alphabet."""

ALIASES: dict[str, str] = {
    "model_infer_request_success_total": "modelwright_request_seconds_count",
    "model_infer_request_failure_total": "modelwright_requests_total of codes from 400",
    "model_infer_request_duration": "modelwright_request_seconds",
    "rest_server_request_duration_seconds": "modelwright_request_seconds of HTTP doors",
    "rest_server_requests_total": "modelwright_requests_total of HTTP doors",
    "rest_server_requests_in_progress": "modelwright_in_flight",
    "grpc_server_handled_total": "modelwright_requests_total of door grpc",
    "batch_request_queue": "modelwright_queue_depth",
    "request_predict_seconds": "modelwright_inference_seconds",
    "nv_inference_request_success": "modelwright_request_seconds_count",
    "nv_inference_request_failure": "modelwright_requests_total of codes from 400",
    "nv_inference_count": "modelwright_batch_rows_sum",
    "nv_inference_exec_count": "modelwright_batch_rows_count",
    "nv_inference_request_duration_us": "modelwright_request_seconds_sum",
    "nv_inference_queue_duration_us": "modelwright_queue_seconds_total",
    "nv_inference_compute_input_duration_us": "modelwright_read_seconds_total",
    "nv_inference_compute_infer_duration_us": "modelwright_inference_seconds_sum",
    "nv_inference_compute_output_duration_us": "modelwright_write_seconds_total",
    "nv_inference_pending_request_count": "modelwright_queue_depth",
    "nv_cache_num_hits_per_model": "modelwright_cache_hits_total",
    "nv_cache_num_misses_per_model": "modelwright_cache_misses_total",
    "nv_gpu_utilization": "modelwright_gpu_utilization",
    "nv_gpu_memory_used_bytes": "modelwright_gpu_memory_used_bytes",
    "nv_gpu_memory_total_bytes": "modelwright_gpu_memory_total_bytes",
}
"""Name of another server's metric -> which of ours it is made of."""

REASONS: dict[int, str] = {
    400: "malformed", 401: "no_token", 403: "forbidden", 404: "not_found", 405: "method",
    406: "not_acceptable", 408: "slow_body", 409: "conflict", 411: "no_length", 413: "too_large",
    415: "content_type", 421: "host", 422: "values", 429: "too_many", 431: "headers",
    499: "gone", 500: "fault", 501: "unsupported", 502: "upstream", 503: "unavailable",
    504: "too_late",
}  # fmt: skip
"""Reason of an error where its raiser says nothing closer."""

CLOSER_REASONS = {
    "queue_full": "503: `serve.queue` requests, or the most of long ones, are under way",
    "shed": "503: it would wait longer than the limit or its deadline allows",
    "model_failed": "503: the graph failed, and nobody stood in",
    "breaker_open": "503: the version is out of service, and nobody stood in",
    "no_version": "503: no version is loaded",
    "no_memory": "503: bodies that are being read hold all the room there is for them",
    "labels": "503: labels cannot be kept, or not in time",
}
"""Reasons that raisers say, and what they mean."""

TRITON_REASONS: dict[int, str] = {
    429: "REJECTED", 503: "REJECTED", 499: "CANCELED", 504: "CANCELED", 500: "BACKEND",
}  # fmt: skip
"""HTTP code -> Triton's word for why a request failed; OTHER for the rest."""

GRPC_CODES: dict[int, str] = {
    200: "OK", 400: "InvalidArgument", 401: "Unauthenticated", 403: "PermissionDenied",
    404: "NotFound", 408: "DeadlineExceeded", 413: "ResourceExhausted", 422: "InvalidArgument",
    429: "ResourceExhausted", 499: "Canceled", 500: "Internal", 501: "Unimplemented",
    503: "Unavailable", 504: "DeadlineExceeded",
}  # fmt: skip
"""HTTP code -> gRPC code, as go-grpc-prometheus spells it."""
