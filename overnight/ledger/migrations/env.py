"""Alembic's entry: runs the migrations on the connection that `overnight.ledger.migrate` hands over."""

from alembic import context

from overnight.ledger import inbox_schema, release_schema, review_schema, schema, trace_schema  # noqa: F401 - they fill the metadata
from overnight.ledger.columns import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # The caller's transaction, taken with BEGIN IMMEDIATE, covers the whole upgrade.
    transactional_ddl=True,
)
context.run_migrations()
