"""Columns of the table that the labelling stage writes."""

import polars as pl

TASK_STATES = ("open", "begun", "labelled", "skipped")
"""open: nobody has begun; begun: there is a draft; labelled: an annotation was submitted; skipped: only refusals."""

LABEL_STUDIO_TASKS = pl.Schema(
    {
        "task_id": pl.Int64(),
        "project": pl.String(),
        "photo_id": pl.String(),
        "state": pl.String(),
        "reason": pl.String(),
        "created_at": pl.Datetime("us", "UTC"),
        "updated_at": pl.Datetime("us", "UTC"),
        "labelled_at": pl.Datetime("us", "UTC"),
        "class_names": pl.List(pl.String()),
        "predictions": pl.List(pl.Int64()),
        "content": pl.String(),
        "file_digest": pl.String(),
        "read_at": pl.Datetime("us", "UTC"),
    }
)
"""One row a task of the project in Label Studio, as the last synchronisation left it.

project tells a project from one of the same number in a server that began anew. photo_id is null for a task that
somebody else made. labelled_at is when the latest submitted annotation was last changed. class_names are those that its
annotations and drafts use; predictions the numbers of its pre-annotations. content is the digest of what the task says
and suggests, null where that is not ours or is half made; file_digest that of its file in the label drop, null without
one. read_at is when the row was last compared with the server.
"""
