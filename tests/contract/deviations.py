"""Where a server is known to differ from the contract, by the names of tests (patterns)."""

from __future__ import annotations

from collections.abc import Mapping

_FOLDER = {
    "test_odd_names*double-slash*": "a folder has no empty names",
    "test_odd_names*dot]": "a folder has no file of the name .",
    "test_odd_names*dotdot]": "a folder has no file of the name ..",
    "test_a_file_and_a_directory_of_one_name*": "in a folder a name is one thing",
}

_NOT_UTF8 = "keys must be UTF-8"
_ONE_THING = "it sits on a folder: a name is a file or a directory"

_LIBCLOUD = {
    "test_odd_names*not-utf-8*": _NOT_UTF8,
    "test_odd_names*double-slash*": "Libcloud's URLs have no empty names",
    "test_odd_names*dot]": "Libcloud's URLs have no name .",
    "test_odd_names*dotdot]": "Libcloud's URLs have no name ..",
}
_LIBCLOUD_XML = {
    **_LIBCLOUD,
    "test_odd_names*control*": "Libcloud reads no listing with control characters",
}
_NO_METADATA = {
    name: "the local driver keeps nothing beside the bytes"
    for name in (
        *("test_the_info_of_a_write_is_that*", "test_ranges*", "test_metadata_and_content_type*"),
        *("test_metadata_that_is_not_ascii*", "test_a_new_object_has_only_its_own_metadata*"),
        *("test_a_marker_is_an_object*", "test_a_marker_outlives_its_children*"),
        *("test_copy_keeps_what_stands*", "test_copy_replaces_what_stands*"),
        *("test_copy_onto_itself_changes_metadata*", "test_copy_of_a_marker*"),
        "test_parts_make_an_object*",
    )
}

DEVIATIONS: Mapping[str, Mapping[str, str]] = {
    "directory": _FOLDER,
    "sidecars": _FOLDER,
    "bos": {
        "test_odd_names*not-utf-8*": _NOT_UTF8,
        "test_odd_names*dot]": "BOS refuses . as a name",
        "test_odd_names*dotdot]": "BOS refuses .. as a name",
    },
    "kodo": {"test_odd_names*not-utf-8*": _NOT_UTF8},
    "cos": {"test_odd_names*not-utf-8*": _NOT_UTF8},
    "radosgw": {"test_odd_names*not-utf-8*": _NOT_UTF8},
    "moto": {
        "test_pending_uploads_are_listed*": "it says that each began in 2010",
        "test_odd_names*not-utf-8*": "what is not UTF-8 is replaced by U+FFFD",
        "test_odd_names*newline*": "its router does not match a newline",
        "test_a_wrong_order_makes_no_wrong_object*": "parts are joined in any order given",
    },
    "rclone": {
        "test_the_marker_of_what_is_listed_comes_first*": "markers are not listed",
        "test_odd_names*not-utf-8*": _NOT_UTF8,
        "test_odd_names*double-slash*": _ONE_THING,
        "test_odd_names*dot]": _ONE_THING,
        "test_odd_names*dotdot]": _ONE_THING,
        "test_a_marker_is_an_object*": "a marker is found without its slash too",
        "test_a_marker_outlives_its_children*": "nothing can be written below a marker",
        "test_a_marker_goes_and_its_children_stay*": "nothing can be written below a marker",
        "test_a_batch_takes_markers_along*": "nothing can be written below a marker",
        "test_a_file_and_a_directory_of_one_name*": _ONE_THING,
        "test_copy_replaces_what_stands_beside*": "the source's metadata are kept beside the new",
        "test_numbers_may_have_gaps*": "part numbers must not have gaps",
        "test_parts_are_copied*": "there is no UploadPartCopy",
    },
    "juicefs": {
        "test_odd_names*not-utf-8*": _NOT_UTF8,
        "test_odd_names*double-slash*": _ONE_THING,
        "test_odd_names*dot]": _ONE_THING,
        "test_odd_names*dotdot]": _ONE_THING,
        "test_a_marker_is_an_object*": "markers have no metadata",
        "test_a_marker_outlives_its_children*": "markers have no metadata",
        "test_a_file_and_a_directory_of_one_name*": _ONE_THING,
        "test_copy_of_a_marker*": "directories are not copied",
    },
    "libcloud-local": {
        **_LIBCLOUD,
        **_NO_METADATA,
        "test_a_file_and_a_directory_of_one_name*": "in a folder a name is one thing",
    },
    "libcloud-s3": _LIBCLOUD_XML,
    "libcloud-whole": _LIBCLOUD_XML,
    "libcloud-minio": {
        **_LIBCLOUD_XML,
        "test_a_marker_is_an_object*": "markers have no metadata",
        "test_a_marker_outlives_its_children*": "markers have no metadata",
        "test_a_file_and_a_directory_of_one_name*": _ONE_THING,
        "test_copy_of_a_marker*": "markers have no metadata",
    },
}
