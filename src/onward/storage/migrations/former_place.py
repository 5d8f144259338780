"""Takes along the ledger of an older release, which had its tables where all others are, and brings it back.

PostgreSQL moves a table in no time, and all that refers to it follows. In SQLite the indexes are made anew: their names
are the whole file's, and cannot be changed.

Processes of the older release go on meanwhile on PostgreSQL: a view with each table's former name takes their reads and
writes. On both, a view named as the table of their revision keeps them from starting, as a newer ledger always did, and
from making another ledger in the former place. The next release's first migration may call `drop_views`.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.exc import OperationalError

from onward.storage import indexes
from onward.storage.base import StorageError, Unavailable
from onward.storage.migrations.site import FIRST, LEDGER_REVISIONS, REVISIONS, Site

OWN_PLACE = "0008"  # from this revision on a ledger is in its own place
TABLES = {"0001": FIRST, "0002": ("schedule",), "0003": ("gates",), "0005": ("overruns",), "0006": ("dispatched",)}
LOCKED_FIRST = ("marks", "gates", "runners", "meta", "idempotency", "jobs")  # as each transaction of a writer does
LOCK_ATTEMPTS = 5
LOCKED = ("55P03", "40P01")  # PostgreSQL's codes for a lock that is not available, and for a deadlock
INDEXES = {"jobs_queued", *indexes.INDEXES}
COMMENT = "the former name of a table of Onward"
VIEWS = """
    SELECT DISTINCT place.nspname, view.relname
    FROM pg_depend JOIN pg_rewrite rule ON rule.oid = pg_depend.objid JOIN pg_class view ON view.oid = rule.ev_class
    JOIN pg_namespace place ON place.oid = view.relnamespace
    JOIN pg_class ours ON ours.oid = pg_depend.refobjid JOIN pg_namespace own ON own.oid = ours.relnamespace
    WHERE pg_depend.classid = 'pg_rewrite'::regclass AND pg_depend.refclassid = 'pg_class'::regclass
    AND own.nspname = :schema AND obj_description(view.oid, 'pg_class') = :comment
"""
GRANTS = """
    SELECT ours.relname, CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END,
        acl.privilege_type
    FROM pg_class ours JOIN pg_namespace own ON own.oid = ours.relnamespace, aclexplode(ours.relacl) acl
    WHERE own.nspname = :schema AND ours.relkind = 'r' AND acl.grantee <> ours.relowner
    AND acl.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
"""


class Former(NamedTuple):
    """A ledger of an older release, in another place than this one's."""

    schema: str | None
    revision: str


def find(site: Site) -> Former | None:
    """Find the ledger that an older release would find: a table's name alone proves nothing."""
    for schema in site.others:
        if site.holds_ledger(schema, ""):
            revision = site.revision(LEDGER_REVISIONS, schema)
            if revision is not None and revision < OWN_PLACE:
                return Former(schema, revision)
    return None


def take_along(site: Site, former: Former) -> None:
    """Move the ledger's tables to its place. Raises StorageError."""
    names = _names(former.revision, site.tables(former.schema))
    _refuse_taken(site, [f"{site.place.prefix}{name}" for name in names], site.schema)
    if site.schema is None:
        _rename(site, names, "", site.place.prefix)
        site.run(f"CREATE VIEW {LEDGER_REVISIONS} AS SELECT version_num FROM _ledger.{LEDGER_REVISIONS}")  # noqa: S608
    else:
        _move(site, names, former.schema, site.schema)
        _make_views(site, names, former.schema)


def move_back(site: Site, revision: str) -> None:
    """Move the tables to where a release finds those of that revision. Raises StorageError where that is taken."""
    if not site.others:
        return  # the search path leads to the ledger's schema, and so does the older release's
    target = site.others[0]
    own = {name.removeprefix(site.place.prefix) for name in site.tables(site.schema)}
    names = _names(revision, own)
    _refuse_taken(site, names, target)
    if site.schema is None:
        _rename(site, names, site.place.prefix, "")
    else:
        _move(site, names, site.schema, str(target))


def drop_views(site: Site) -> None:
    """Drop the views with the tables' former names; one of somebody else's stays."""
    if site.schema is not None:
        for schema, name in site.run(VIEWS, schema=site.schema, comment=COMMENT).all():
            site.run(f"DROP VIEW {site.table(name, schema)}")
        return
    view = "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = :name"
    if site.place.named(f"_ledger.{LEDGER_REVISIONS}") in (site.run(view, name=LEDGER_REVISIONS).scalar() or ""):
        site.run(f"DROP VIEW {LEDGER_REVISIONS}")


def _names(revision: str, there: set[str]) -> list[str]:
    """The tables of a ledger of that revision, in the order in which transactions lock rows, and Alembic's tables."""
    made = [name for since, names in TABLES.items() if since <= revision for name in names]
    ordered = [*(name for name in LOCKED_FIRST if name in made), *(name for name in made if name not in LOCKED_FIRST)]
    return [*ordered, *(name for name in REVISIONS if name in there)]


def _refuse_taken(site: Site, names: list[str], schema: str | None) -> None:
    if taken := site.taken(names, schema):
        where = "the file" if schema is None else f"the schema {schema}"
        raise StorageError(f"the ledger cannot be moved: {where} has other tables named {', '.join(taken)}")


def _rename(site: Site, names: list[str], before: str, after: str) -> None:
    """Give the tables and their indexes names with another prefix."""
    of_table = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND sql IS NOT NULL"
    for name in names:
        site.run(f"ALTER TABLE {site.table(before + name, None)} RENAME TO {site.table(after + name, None)}")
        for index in site.run(of_table, table=after + name).scalars().all():
            if index.removeprefix(before) in INDEXES:  # another one is somebody's own
                made = site.run(
                    "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = :name", name=index
                ).scalar()
                site.run(f"DROP INDEX {site.table(index, None)}")
                renamed = f"{after}{index.removeprefix(before)}"
                site.bound.exec_driver_sql(made.replace(index, renamed, 1))


def _move(site: Site, names: list[str], before: str | None, after: str) -> None:
    moved = [site.table(name, before) for name in names]
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        site.run("SAVEPOINT lock")
        try:
            site.run(f"LOCK TABLE {', '.join(moved)} IN ACCESS EXCLUSIVE MODE")
            break
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in LOCKED:
                raise
            if attempt == LOCK_ATTEMPTS:
                words = "transactions hold the ledger's tables: migrate again, or stop the processes that use them"
                raise Unavailable(words) from error
            site.run("ROLLBACK TO SAVEPOINT lock")
    for table in moved:
        site.run(f"ALTER TABLE {table} SET SCHEMA {site.quoted(after)}")


def _make_views(site: Site, names: list[str], former: str | None) -> None:
    """Let processes of the older release go on, each user as before."""
    schema = site.quoted(site.place.schema)
    for name in names:
        view = site.table(name, former)
        site.run(f"CREATE VIEW {view} AS SELECT * FROM _ledger.{name}")  # noqa: S608 - quoted
        site.run(f"COMMENT ON VIEW {view} IS '{COMMENT}'")
    for name, grantee, privilege in site.run(GRANTS, schema=site.schema).all():
        site.run(f"GRANT USAGE ON SCHEMA {schema} TO {grantee}")
        site.run(f"GRANT {privilege} ON {site.table(name, former)} TO {grantee}")
