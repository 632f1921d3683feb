"""The control socket of a mount: how commands ask it what is left, and have it saved.

`server` runs in the mount process, `client` in a person's command; `places` is where they meet.
The protocol is one JSON object a line: the client sends `{"command": ...}` and the server answers
with one or more objects.

    status   one report
    stats    what was counted since the mount, one object (docs/operations.md has its fields);
             "has_histograms": latencies with their histograms
    health   one report with uptime_s, failed_files, errors, budgets
    info     what is known of the file "inode", one object
    inflight "kernel": what the kernel waits for now; "store": the calls of the store under way
    log      where the log goes, and its lines after number "after"; "level": log from that on
    settings what the mount was asked for, by name, as text without secrets
    pending  what is not in the bucket: objects with "files", the last one with "is_last"
    sync     saves what is at and below the names in "path": reports; the last one has "failed"
    warmup   brings what is at and below each of "paths" to the disk cache: reports of how far it
             is; the last one has "failed". It ends when the client goes away
    drain    lets no changes in and saves everything: reports; the last one has "failed". Changes
             are let in again when the client goes away. "is_last": what failed is not tried again
             when the mount ends
    watch    reports until the mount process ends; the last one has "exit_status"

Reports have "dirty_files" and "dirty_bytes"; "failed" are objects with path, reason and is_kept.
"""

from bucketfs.control.client import ControlClient
from bucketfs.control.places import (
    cache_folder_of,
    log_file_of,
    runtime_folder,
    socket_path,
)
from bucketfs.control.reports import Report
from bucketfs.control.server import Answer, ControlServer, Served

__all__ = [
    "Answer",
    "ControlClient",
    "ControlServer",
    "Report",
    "Served",
    "cache_folder_of",
    "log_file_of",
    "runtime_folder",
    "socket_path",
]
