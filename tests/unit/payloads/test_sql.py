import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.failures import SinkRefused
from overnight.payloads.sql import name_sql

POSTGRES = "postgresql://ada@db.example.org/crm?table=leads"


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        (POSTGRES, POSTGRES),
        ("POSTGRESQL://ada@DB.Example.org:5432/crm?table=leads", POSTGRES),
        ("postgresql://%61da@db.example.org/%63rm?%74able=leads", POSTGRES),
        ("postgresql://@db/crm?table=leads", "postgresql://db/crm?table=leads"),
        (
            "postgresql://db:5433/crm?sslmode=verify-full&table=sales.Leads",
            "postgresql://db:5433/crm?table=sales.Leads&sslmode=verify-full",
        ),
        ("postgresql://[::1]:5432/a%2Fb?table=t", "postgresql://[::1]/a%2Fb?table=t"),
        ("postgresql://a%40b@db/crm?table=t", "postgresql://a%40b@db/crm?table=t"),
        ("sqlite:///data/./out//x.db?table=t", "sqlite:///data/out/x.db?table=t"),
        ("sqlite://////srv/y/../x.db?table=t", "sqlite:////srv/x.db?table=t"),
        ("sqlite:///%2F%2Fsrv/my%20x.db?table=t", "sqlite:////srv/my%20x.db?table=t"),
        ("SQLite:///x.db?table=t", "sqlite:///x.db?table=t"),
    ],
)
def test_one_table_has_one_name(sink, name):
    assert name_sql(sink) == name
    assert name_sql(name) == name


@given(
    st.sampled_from(["postgresql://", "sqlite:///", "sqlite:////"]),
    st.text(st.sampled_from("aA@:/?#[]%24F.~é=&\0"), max_size=12),
    st.sampled_from(["/d?table=t", "?table=t", "/d?table=s.t&sslmode=require", ""]),
)
def test_a_name_is_its_own_name_or_the_address_is_refused(start, middle, end):
    try:
        name = name_sql(start + middle + end)
    except SinkRefused:
        return
    assert name_sql(name) == name


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        ("postgresql://ada:hunter2@db/crm?table=t", "credentials go apart"),
        ("postgresql://ada:@db/crm?table=t", "credentials go apart"),
        ("postgresql://ada:hun/ter2@db/crm?table=t", "cannot be read"),
        ("postgresql://ada:hun#ter2@db/crm?table=t", "fragment"),
        ("postgresql://ada:12?hunter2@db/crm?table=t", "database"),
        ("postgresql://ada:hunter2\u2100@db/crm?table=t", "cannot be read"),
        ("postgresql://db/crm?table=t&password=hunter2", "parameter"),
        ("postgresql://db/crm?table=t&hunter2=", "parameter"),
        ("postgresql://db/crm?table=t&table=hunter2", "parameter twice"),
        ("postgresql://db/crm?table=hunter2;x", "names no table"),
        ("postgresql:///crm?table=t", "host"),
        ("postgresql://d%20b/crm?table=t", "host"),
        ("postgresql://a,b/crm?table=t", "host"),
        ("postgresql://[::1/crm?table=t", "cannot be read"),
        ("postgresql://db:0/crm?table=t", "port"),
        ("postgresql://db:99999/crm?table=t", "cannot be read"),
        ("postgresql://db?table=t", "database"),
        ("postgresql://db/?table=t", "database"),
        ("postgresql://db/a/b?table=t", "database"),
        ("postgresql://db/a%00b?table=t", "control"),
        ("postgresql://db/a%FFb?table=t", "cannot be read"),
        ("postgresql://db/crm", "names no table"),
        ("postgresql://db/crm?table=", "names no table"),
        ("postgresql://db/crm?table=a.b.c", "names no table"),
        ("postgresql://db/crm?table=.b", "names no table"),
        ("postgresql://db/crm?table=1a", "names no table"),
        ("postgresql://db/crm?table=a-b", "names no table"),
        ("postgresql://db/crm?table=a%0A", "names no table"),
        ("postgresql://db/crm?table=" + "a" * 64, "names no table"),
        ("postgresql://db/crm?table=sales.overnight_deliveries", "holds the keys"),
        ("postgresql://db/crm?table=t&sslmode=maybe", "sslmode"),
        ("postgresql://db/crm?table=t&options=-c", "parameter"),
        ("postgresql://db/crm?table=t#", "fragment"),
        ("sqlite:x.db?table=t", "slashes"),
        ("sqlite:/x.db?table=t", "slashes"),
        ("sqlite://host/x.db?table=t", "host"),
        ("sqlite:///?table=t", "no file"),
        ("sqlite:////?table=t", "no file"),
        ("sqlite:///:memory:?table=t", "no file"),
        ("sqlite:///x.db", "names no table"),
        ("sqlite:///x.db?table=main.t", "names no table"),
        ("sqlite:///x.db?table=t&sslmode=require", "parameter"),
        ("sqlite:///x.db?table=Overnight_Deliveries", "holds the keys"),
        ("sqlite:///a%0Ab.db?table=t", "control"),
    ],
)
def test_an_address_that_is_not_one_is_refused_without_being_repeated(sink, why):
    with pytest.raises(SinkRefused, match=why) as refusal:
        name_sql(sink)
    said = str(refusal.value)
    assert "\n" not in said
    assert "hun" not in said
    assert "ter2" not in said
    # Nor may a traceback show what the parser said.
    assert refusal.value.__suppress_context__


def test_naming_a_table_loads_no_database_library():
    code = "import sys, overnight.payloads; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
