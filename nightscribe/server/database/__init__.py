"""Keep what cannot be made again from the records: tokens, logins, the log, webhooks, shares and jobs.

SQLite in DEST by default, PostgreSQL by URL; the same tables and statements for both. To add tables:

1. Define them as subclasses of `tables.Base` in a module of your own area, such as `server/webhooks/tables.py`.
2. Add a migration for them: a file in `migrations/versions/`, named after the area and a number (`webhooks_0001.py`).
   Every area is a branch of its own, so nobody's migrations conflict: the first one has `down_revision = None` and
   `branch_labels = ("webhooks",)`, each later one names the one before it *in its area* as `down_revision`. A migration
   that refers to a table of another area names that area's migration in `depends_on`.
3. A released migration is never changed. tests/unit/test_server_database.py compares the migrated tables with the
   defined ones, on SQLite and PostgreSQL.

Migrations run when a server starts (`migrate.py`). Statements are run in `with database.read() as session` or
`with database.write() as session`, each one transaction; both block, so call them in a thread.
"""
