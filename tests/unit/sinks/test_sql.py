import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa

from overnight.failures import SinkRefused
from overnight.payloads import make_payload, sink_name
from overnight.sinks.contract import Consignment, Outcome
from overnight.sinks.errors import DeliveryDeferred
from overnight.sinks.sql import SqlSink
from overnight.sinks.sql_connect import _choose_tls
from tests.fakes.postgres import start_postgres

HOSTS = frozenset({"127.0.0.1"})
ORIGIN = "row_id TEXT PRIMARY KEY, request_key TEXT, prompt_hash TEXT, model TEXT"
LEADS = f"CREATE TABLE leads ({ORIGIN}, label TEXT CHECK (label <> 'bad'), score BIGINT, sure BOOLEAN)"
PASSWORD = "hunter2-never-shown"  # noqa: S105 - opens nothing; the tests look for it in messages
WEIRD = ["select", 'a"b', "a%b", "%s", "%(x)s", "a(b)", "a:b", "a b", "a.b", "a[0]", "é", "a'b", "a\\b", "?", ":x"]


@dataclass
class Database:
    """One database, seen from outside."""

    engine: sa.Engine
    address: str

    def run(self, statement):
        with self.engine.begin() as connection:
            return connection.exec_driver_sql(statement)

    def fetch(self, query):
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    @property
    def is_postgres(self):
        return self.engine.dialect.name == "postgresql"

    def name(self, table="leads"):
        return sink_name(f"{self.address}?table={table}")

    def open(self, table="leads"):
        return SqlSink(self.name(table), allow_hosts=HOSTS)

    def pay(self, row_id="r1", table="leads", **output):
        row = {"row_id": row_id, "request_key": "k", "prompt_hash": "h", "model": "local:tiny", "output": output}
        return make_payload(row, sink=self.name(table))

    def deliver(self, *payloads, table="leads", release="rel-1"):
        with closing(self.open(table)) as sink:
            return sink.deliver(Consignment(release, payloads))

    def recall(self, *payloads, table="leads"):
        with closing(self.open(table)) as sink:
            return sink.recall(Consignment("rel-1", payloads), None)

    def refuse(self, payload, table="leads"):
        with closing(self.open(table)) as sink, pytest.raises(SinkRefused) as refusal:
            sink.check(payload)
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    def check(self, payload, table="leads"):
        with closing(self.open(table)) as sink:
            sink.check(payload)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    if request.param == "sqlite":
        path = tmp_path / "out.db"
        sqlite3.connect(path).close()
        yield Database(sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool), f"sqlite:///{path}")
    else:
        yield from make_postgres(request)


@pytest.fixture
def postgres_database(request):
    yield from make_postgres(request)


def make_postgres(request):
    server = request.getfixturevalue("postgres")
    url = server.make_database()
    yield Database(sa.create_engine(url, poolclass=sa.NullPool), url.replace("+psycopg", ""))
    server.drop_database(url)


@pytest.fixture
def leads(database):
    database.run(LEADS)
    return database


def n_keys(database):
    return database.fetch("SELECT count(*) FROM overnight_deliveries")[0][0]


def delivered(outcomes):
    return [outcome.is_delivered for outcome in outcomes]


def test_rows_arrive_with_their_types(database):
    database.run(
        f"CREATE TABLE leads ({ORIGIN}, a TEXT, b BIGINT, c DOUBLE PRECISION, d BOOLEAN, e TEXT, f TEXT, g TEXT)"
    )
    values = {"a": "é", "b": 2**40, "c": 0.1, "d": True, "e": [1, "é"], "f": {"x": None}, "g": None}
    payload = database.pay(**values)
    database.check(payload)
    assert database.deliver(payload) == [Outcome(is_delivered=True, detail="upserted")]
    [row] = database.fetch("SELECT * FROM leads")
    assert row == ("r1", "k", "h", "local:tiny", "é", 2**40, 0.1, True, '[1, "é"]', '{"x": null}', None)
    assert isinstance(row[7], bool) or not database.is_postgres


def test_the_key_of_a_delivery_stands_beside_its_row(leads):
    payload = leads.pay(label="red")
    leads.deliver(payload)
    kept = leads.fetch("SELECT delivery_key, table_name, row_id, release_id, before FROM overnight_deliveries")
    assert kept == [(payload.delivery_key, "leads", "r1", "rel-1", None)]


def test_checking_writes_nothing(leads):
    leads.check(leads.pay(label="red"))
    assert leads.fetch("SELECT * FROM leads") == []
    assert not sa.inspect(leads.engine).has_table("overnight_deliveries")


def test_a_later_version_replaces_the_row_and_keeps_what_was_there(leads):
    leads.deliver(leads.pay(label="red", score=1))
    leads.deliver(leads.pay(label="blue", score=2), release="rel-2")
    assert leads.fetch("SELECT row_id, label, score FROM leads") == [("r1", "blue", 2)]
    [(before,)] = leads.fetch("SELECT before FROM overnight_deliveries WHERE release_id = 'rel-2'")
    # As the database writes them: Postgres notes every value as text.
    assert (json.loads(before)["label"], int(json.loads(before)["score"])) == ("red", 1)


def test_the_same_consignment_twice_leaves_one_row_and_one_key(leads):
    payload = leads.pay(label="red")
    assert delivered(leads.deliver(payload)) == [True]
    assert leads.deliver(payload) == [Outcome(is_delivered=True, detail="was there")]
    assert (len(leads.fetch("SELECT * FROM leads")), n_keys(leads)) == (1, 1)


def test_one_row_twice_in_a_consignment_ends_as_its_last_version(leads):
    first, last = leads.pay(label="red"), leads.pay(label="blue")
    assert delivered(leads.deliver(first, first, last)) == [True, True, True]
    assert leads.fetch("SELECT label FROM leads") == [("blue",)]
    assert delivered(leads.recall(first, last)) == [True, True]
    assert (leads.fetch("SELECT * FROM leads"), n_keys(leads)) == ([], 0)


def test_a_consignment_of_500_rows_with_unlike_fields_arrives(leads):
    rows = [leads.pay(f"r{i}", label="red", **({"score": i} if i % 3 else {})) for i in range(500)]
    assert all(delivered(leads.deliver(*rows)))
    assert leads.fetch("SELECT count(*), count(score), sum(score) FROM leads") == [
        (500, 333, sum(i for i in range(500) if i % 3))
    ]


def test_a_row_that_the_database_refuses_stops_no_other(leads):
    rows = [leads.pay("r1", label="red"), leads.pay("r2", label="bad"), leads.pay("r3", label="blue")]
    outcomes = leads.deliver(*rows)
    assert delivered(outcomes) == [True, False, True]
    assert "r2" in outcomes[1].detail
    assert "check" in outcomes[1].detail.lower()
    assert "\n" not in outcomes[1].detail
    assert leads.fetch("SELECT row_id FROM leads ORDER BY 1") == [("r1",), ("r3",)]
    assert n_keys(leads) == 2


def test_a_number_that_does_not_fit_is_refused_alone(leads):
    outcomes = leads.deliver(leads.pay("r1", score=2**63), leads.pay("r2", score=1))
    assert delivered(outcomes) == [False, True]


def test_a_field_without_a_column_refuses_its_row_alone(leads):
    outcomes = leads.deliver(leads.pay("r1", label="red", more=1), leads.pay("r2", label="red"))
    assert delivered(outcomes) == [False, True]
    assert "'more'" in outcomes[0].detail


def test_what_is_rolled_back_leaves_nothing_half(leads):
    if leads.is_postgres:
        leads.run(
            "CREATE FUNCTION f() RETURNS trigger AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
            " RETURN NEW; END' LANGUAGE plpgsql"
        )
        leads.run("CREATE TRIGGER t BEFORE INSERT ON leads FOR EACH ROW WHEN (NEW.row_id = 'r2') EXECUTE FUNCTION f()")
    else:
        leads.run(
            "CREATE TRIGGER t BEFORE INSERT ON leads WHEN NEW.row_id = 'r2' BEGIN INSERT INTO nowhere VALUES (1); END"
        )
    rows = [leads.pay("r1", label="red"), leads.pay("r2", label="red")]
    with pytest.raises(DeliveryDeferred, match="without harm") as deferred:
        leads.deliver(*rows)
    assert "\n" not in str(deferred.value)
    assert leads.fetch("SELECT * FROM leads") == []
    assert not sa.inspect(leads.engine).has_table("overnight_deliveries")
    leads.run("DROP TRIGGER t" + (" ON leads" if leads.is_postgres else ""))
    assert delivered(leads.deliver(*rows)) == [True, True]


def test_a_recall_deletes_what_was_new_and_restores_what_was_there(leads):
    leads.run("INSERT INTO leads (row_id, label, score, sure) VALUES ('r1', 'old', 7, NULL)")
    rows = [leads.pay("r1", label="red", score=1, sure=True), leads.pay("r2", label="blue")]
    leads.deliver(*rows)
    assert [o.detail for o in leads.recall(*rows)] == ["restored", "deleted"]
    assert leads.fetch("SELECT * FROM leads") == [("r1", None, None, None, "old", 7, None)]
    assert n_keys(leads) == 0
    again = leads.recall(*rows)
    assert again == [Outcome(is_delivered=True, detail="was not there")] * 2
    assert delivered(leads.deliver(*rows)) == [True, True]


def test_a_recall_before_any_delivery_finds_nothing(leads):
    assert leads.recall(leads.pay(label="red")) == [Outcome(is_delivered=True, detail="was not there")]


def test_a_recall_leaves_what_a_later_delivery_changed(leads):
    first, later = leads.pay(label="red"), leads.pay(label="blue")
    leads.deliver(first)
    leads.deliver(later, release="rel-2")
    [outcome] = leads.recall(first)
    assert not outcome.is_delivered
    assert "a later delivery changed it" in outcome.detail
    assert [delivered(leads.recall(p)) for p in (later, first)] == [[True], [True]]
    assert leads.fetch("SELECT * FROM leads") == []


@pytest.mark.parametrize("edit", ["UPDATE leads SET label = 'mine'", "UPDATE leads SET note = 'call him'"])
def test_a_recall_leaves_what_a_person_changed(leads, edit):
    leads.run("ALTER TABLE leads ADD COLUMN note TEXT")
    rows = [leads.pay("r1", label="red"), leads.pay("r2", label="red")]
    leads.deliver(*rows)
    leads.run(edit + " WHERE row_id = 'r1'")
    as_edited = leads.fetch("SELECT * FROM leads WHERE row_id = 'r1'")
    outcomes = leads.recall(*rows)
    assert delivered(outcomes) == [False, True]
    assert "since" in outcomes[0].detail
    assert leads.fetch("SELECT * FROM leads") == as_edited
    assert n_keys(leads) == 1


def test_a_row_that_a_person_deleted_is_not_brought_back(leads):
    leads.run("INSERT INTO leads (row_id, label) VALUES ('r1', 'old')")
    rows = [leads.pay("r1", label="red"), leads.pay("r2", label="red")]
    leads.deliver(*rows)
    leads.run("DELETE FROM leads")
    outcomes = leads.recall(*rows)
    assert delivered(outcomes) == [False, True]
    assert leads.fetch("SELECT * FROM leads") == []


def test_sixteen_at_once_deliver_each_row_once(leads):
    rows = [leads.pay(f"r{i}", label="red", score=i) for i in range(20)]
    with ThreadPoolExecutor(16) as threads:
        turned = [rows[::-1] if i % 2 else rows for i in range(16)]
        found = list(threads.map(lambda some: leads.deliver(*some), turned))
    assert all(all(delivered(outcomes)) for outcomes in found)
    assert sum(o.detail == "upserted" for outcomes in found for o in outcomes) == 20
    assert leads.fetch("SELECT count(*), count(DISTINCT row_id) FROM leads") == [(20, 20)]
    assert n_keys(leads) == 20


SAMPLE = {
    "label": "red",
    "score": 1,
    "share": 0.5,
    "sure": True,
    "tags": ["a"],
    "extra": {},
    "none": None,
    'a"b': 1,
    "a%b": 1,
}


@pytest.mark.parametrize(
    ("table", "missing"),
    [
        (None, "a table leads"),
        (f"CREATE TABLE leads ({ORIGIN}, label TEXT)", "a column 'score'"),
        ("CREATE TABLE leads (x TEXT)", "a column 'row_id'"),
        (f"CREATE TABLE leads ({ORIGIN}, must TEXT NOT NULL)", "a default for 'must'"),
        (f"CREATE TABLE leads ({ORIGIN.replace('PRIMARY KEY', '')})", "unique constraint on row_id"),
        (f"CREATE TABLE leads ({ORIGIN.replace('TEXT PRIMARY KEY', 'BIGINT PRIMARY KEY')})", "row_id to be TEXT"),
        (f"CREATE TABLE leads ({ORIGIN.replace(' PRIMARY KEY', '')}, n INT, UNIQUE (row_id, n))", "unique constraint"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_the_statement_that_would_do(database, table, missing):
    if table:
        database.run(table)
    payload = database.pay(**SAMPLE)
    said = database.refuse(payload)
    assert missing in said
    database.run("DROP TABLE IF EXISTS leads")
    with database.engine.begin() as connection:
        connection.execute(sa.text(said[said.index("CREATE TABLE") :]))
    database.check(payload)
    assert delivered(database.deliver(payload)) == [True]
    assert delivered(database.recall(payload)) == [True]


@pytest.mark.parametrize("index", ["CREATE UNIQUE INDEX i ON leads (row_id)", None])
def test_a_unique_index_does_for_a_constraint_and_a_partial_one_does_not(database, index):
    database.run(f"CREATE TABLE leads (id INTEGER PRIMARY KEY, {ORIGIN.replace(' PRIMARY KEY', '')}, label TEXT)")
    database.run(index or "CREATE UNIQUE INDEX i ON leads (row_id) WHERE label <> ''")
    if index is None:
        assert "unique constraint" in database.refuse(database.pay(label="red"))
    elif not database.is_postgres:
        assert delivered(database.deliver(database.pay(label="red"))) == [True]
        assert delivered(database.recall(database.pay(label="red"))) == [True]


@pytest.mark.parametrize("field", ["", "a\nb", "\0"])
def test_a_field_that_can_be_no_column_is_refused(leads, field):
    assert "cannot be a column" in leads.refuse(leads.pay(**{field: 1}))


def test_names_that_would_break_a_statement_are_columns_like_others(database):
    payload = database.pay(**{name: name for name in WEIRD})
    said = database.refuse(payload)
    with database.engine.begin() as connection:
        connection.connection.cursor().execute(said[said.index("CREATE TABLE") :])
    later = database.pay(**{name: f"{name} later" for name in WEIRD})
    database.check(payload)
    assert delivered(database.deliver(payload) + database.deliver(later) + database.recall(later)) == [True] * 3
    [row] = database.fetch("SELECT * FROM leads")
    assert sorted(row) == sorted([*WEIRD, "r1", "k", "h", "local:tiny"])


def test_text_that_would_be_a_statement_is_inert(leads):
    bobby = "'); DROP TABLE leads;--"
    assert delivered(leads.deliver(leads.pay(bobby, label=bobby))) == [True]
    assert leads.fetch("SELECT row_id, label FROM leads") == [(bobby, bobby)]
    assert delivered(leads.recall(leads.pay(bobby, label=bobby))) == [True]


def test_a_nul_is_gone_before_it_reaches_the_database(leads):
    assert delivered(leads.deliver(leads.pay("r\x001", label="re\0d"))) == [True]
    assert leads.fetch("SELECT row_id, label FROM leads") == [("r1", "red")]


def test_a_table_of_keys_of_another_shape_is_refused(leads):
    leads.run("CREATE TABLE overnight_deliveries (delivery_key TEXT PRIMARY KEY)")
    assert "has no table_name, row_id" in leads.refuse(leads.pay(label="red"))


@pytest.mark.parametrize("table", [None, "CREATE TABLE leads (label TEXT)"])
def test_a_table_that_is_gone_or_another_one_leaves_the_rows_for_later(database, table):
    if table:
        database.run(table)
    for work in (database.deliver, database.recall):
        with pytest.raises(DeliveryDeferred, match="has no table leads"):
            work(database.pay(label="red"))


def test_any_type_of_postgres_is_written_compared_and_restored(postgres_database):
    database = postgres_database
    columns = (
        "a JSON, b JSONB, c DATE, d NUMERIC(30, 10), e REAL, f UUID, g BYTEA, h TEXT[], i TIMESTAMPTZ, j JSONB, k INT,"
        " l mood"
    )
    database.run("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    database.run(f"CREATE TABLE leads ({ORIGIN}, {columns}, at TIMESTAMPTZ DEFAULT now())")
    database.run(
        """INSERT INTO leads VALUES ('r1', 'k0', 'h0', 'm0', '{"z": 1,  "a": 0.10}', '[1]', '1999-12-31',
        12345678901234567890.0123456789, 0.1, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '\\x00ff', '{a,"b,c",NULL}',
        '2001-01-01 00:00:00.123456+02', 'true', 3, 'sad')"""
    )
    before = database.fetch("SELECT leads::text FROM leads")
    values = {
        "a": {"x": [1.5]},
        "b": ["é"],
        "c": "2024-02-29",
        "d": 0.1,
        "e": 0.1,
        "f": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12",
        "g": "\\xab",
        "h": "{x}",
        "i": "2024-02-29T12:00:00Z",
        "j": "a text",
        "k": 2.0,
        "l": "glad",
    }
    payloads = [database.pay("r1", **values), database.pay("r2", **values)]
    database.check(payloads[0])
    assert delivered(database.deliver(*payloads)) == [True, True]
    assert database.fetch("SELECT a ->> 'x', b ->> 0, j #>> '{}', k, e::text, l FROM leads WHERE row_id = 'r2'") == [
        ("[1.5]", "é", "a text", 2, "0.1", "glad")
    ]
    assert delivered(database.recall(*payloads)) == [True, True]
    assert database.fetch("SELECT leads::text FROM leads") == before


def test_postgres_refuses_what_it_would_have_to_round(postgres_database):
    postgres_database.run(LEADS)
    [outcome] = postgres_database.deliver(postgres_database.pay(score=1.5))
    assert not outcome.is_delivered


def test_a_row_that_a_trigger_refuses_or_skips_is_not_called_delivered(postgres_database):
    database = postgres_database
    database.run(LEADS)
    database.run(
        "CREATE FUNCTION f() RETURNS trigger AS $$BEGIN IF NEW.row_id = 'r1' THEN RAISE 'not today'; END IF;"
        " RETURN NULL; END$$ LANGUAGE plpgsql"
    )
    database.run("CREATE TRIGGER t BEFORE INSERT ON leads FOR EACH ROW WHEN (NEW.row_id <> 'r3') EXECUTE FUNCTION f()")
    outcomes = database.deliver(*(database.pay(f"r{i}", label="red") for i in (1, 2, 3)))
    assert delivered(outcomes) == [False, False, True]
    assert "not today" in outcomes[0].detail
    assert "trigger" in outcomes[1].detail
    assert n_keys(database) == 1


def test_a_constraint_that_waits_for_the_commit_refuses_its_row_alone(postgres_database):
    database = postgres_database
    database.run("CREATE TABLE labels (label TEXT PRIMARY KEY)")
    database.run("INSERT INTO labels VALUES ('red')")
    database.run(f"CREATE TABLE leads ({ORIGIN}, label TEXT REFERENCES labels DEFERRABLE INITIALLY DEFERRED)")
    assert delivered(database.deliver(database.pay("r1", label="red"), database.pay("r2", label="no"))) == [True, False]


def test_a_table_may_stand_in_a_schema_of_its_own(postgres_database):
    database = postgres_database
    database.run("CREATE SCHEMA sales")
    payload = database.pay(table="sales.Leads", label="red")
    said = database.refuse(payload, table="sales.Leads")
    database.run(said[said.index("CREATE TABLE") :])
    assert delivered(database.deliver(payload, table="sales.Leads")) == [True]
    assert database.fetch('SELECT label FROM sales."Leads"') == [("red",)]
    assert database.fetch("SELECT table_name FROM sales.overnight_deliveries") == [("Leads",)]
    assert delivered(database.recall(payload, table="sales.Leads")) == [True]


def test_an_account_that_lacks_rights_is_told_what_to_run(postgres_database):
    database = postgres_database
    database.run("CREATE ROLE clerk LOGIN")
    try:
        database.run(LEADS)
        clerk = replace(database, address=re.sub("//.*@", "//clerk@", database.address))
        payload = clerk.pay(label="red")
        with pytest.raises(DeliveryDeferred, match="permission denied"):
            clerk.deliver(payload)
        database.run("CREATE SCHEMA own")
        said = clerk.refuse(payload)
        assert "CREATE TABLE public.overnight_deliveries" in said
        database.run(said.partition("run: ")[2])
        said = clerk.refuse(payload)
        assert "GRANT SELECT, INSERT, UPDATE, DELETE ON public.leads TO clerk" in said
        database.run(said.partition("run: ")[2])
        clerk.check(payload)
        assert delivered(clerk.deliver(payload) + clerk.recall(payload)) == [True, True]
    finally:
        database.run("DROP OWNED BY clerk")
        database.run("DROP ROLE clerk")


def test_a_lock_that_another_one_holds_defers_the_delivery(tmp_path, monkeypatch):
    monkeypatch.setattr("overnight.sinks.sql_connect._BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "out.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(LEADS)
        other.execute("BEGIN IMMEDIATE")
        database = Database(sa.create_engine(f"sqlite:///{path}"), f"sqlite:///{path}")
        with pytest.raises(DeliveryDeferred, match="locked"):
            database.deliver(database.pay(label="red"))


def test_a_server_that_is_away_defers_without_the_password(postgres):
    name = "postgresql://ada@127.0.0.1:1/crm?table=leads"
    with closing(SqlSink(name, allow_hosts=HOSTS, credential=PASSWORD)) as sink:
        payload = Database(sa.create_engine("sqlite://"), "sqlite:///x").pay(label="red")
        for work in (lambda: sink.check(payload), lambda: sink.deliver(Consignment("rel-1", [payload]))):
            with pytest.raises(DeliveryDeferred) as deferred:
                work()
            assert name in str(deferred.value)
            assert "\n" not in str(deferred.value)
            assert PASSWORD not in str(deferred.value)
            assert PASSWORD not in repr(deferred.value.__cause__)


def test_a_password_opens_the_database_and_a_wrong_one_is_never_shown(postgres):
    with start_postgres(fsync=False) as server:
        engine = sa.create_engine(server.url(), poolclass=sa.NullPool)
        Database(engine, "").run(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
        (server.folder / "data" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        server.restart("fast")
        name = f"postgresql://postgres@127.0.0.1:{server.port}/postgres?table=leads"
        for password, why in ((PASSWORD, "has no table leads"), (PASSWORD[:-1], "password authentication failed")):
            with closing(SqlSink(name, allow_hosts=HOSTS, credential=password)) as sink:
                with pytest.raises(DeliveryDeferred, match=why) as deferred:
                    sink.deliver(Consignment("rel-1", []))
                assert password not in str(deferred.value) + repr(deferred.value.__cause__)


def test_an_address_inside_is_refused_where_it_is_not_allowed():
    with pytest.raises(SinkRefused, match="OVERNIGHT_ALLOW_HOSTS"):
        SqlSink("postgresql://127.0.0.1/crm?table=leads", allow_hosts=frozenset())


def test_outside_the_house_the_certificate_is_verified_unless_the_name_says_otherwise():
    assert _choose_tls("db.example.org", None, HOSTS)["sslmode"] == "verify-full"
    assert _choose_tls("db.example.org", "require", HOSTS) == {"sslmode": "require"}
    assert _choose_tls("127.0.0.1", None, HOSTS) == {}


def test_a_database_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(SinkRefused, match="no database file"):
        SqlSink(f"sqlite:///{tmp_path}/out.db?table=leads", allow_hosts=HOSTS)
    (tmp_path / "late.db").touch()
    with closing(SqlSink(f"sqlite:///{tmp_path}/late.db?table=leads", allow_hosts=HOSTS)) as sink:
        (tmp_path / "late.db").unlink()
        with pytest.raises(DeliveryDeferred, match="unable to open"):
            sink.deliver(Consignment("rel-1", []))
    assert list(tmp_path.iterdir()) == []
