import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from overnight.failures import SinkRefused
from overnight.payloads import make_payload
from overnight.sinks.contract import Consignment
from overnight.sinks.errors import DeliveryDeferred
from overnight.sinks.objects import ObjectSink
from tests.fakes.s3 import FakeS3, Trouble

NAME = "s3://rows/out/{release}.jsonl"
PLACE = "rows/out/r1.jsonl"
HERE = frozenset({"127.0.0.1"})
ORIGIN = {"request_key": "k", "prompt_hash": "h", "model": "local:tiny"}
LOST = Trouble("PUT", 500, is_done=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    nowhere = str(tmp_path_factory.mktemp("aws") / "none")
    with pytest.MonkeyPatch.context() as patch, FakeS3() as server:
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, nowhere)
        yield server


@pytest.fixture
def s3(server):
    server.forget()
    return server


@pytest.fixture(scope="module")
def one_sink(server):
    """One for all tests: a client of s3 takes long to make."""
    with closing(open_sink(server)) as sink:
        yield sink


@pytest.fixture
def sink(s3, one_sink):
    return one_sink


def open_sink(s3, name=NAME, **options):
    return ObjectSink(name, allow_hosts=HERE, credential=s3.make_credential(**options))


def make_consignment(*outputs, release_id="r1", name=NAME):
    rows = [{"row_id": str(i), "output": output, **ORIGIN} for i, output in enumerate(outputs or [{"a": 1}], 1)]
    return Consignment(release_id, [make_payload(row, sink=name) for row in rows])


def test_it_says_what_it_does():
    assert ObjectSink.effect == "reversible"
    assert ObjectSink.operation == "create"
    assert ObjectSink.dedupes
    assert not ObjectSink.replaces
    assert ObjectSink.n_at_once is None


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_release_is_created_by_one_conditional_put(s3, suffix):
    name = f"s3://rows/out/night-{{release}}.{suffix}"
    consignment = make_consignment({"a": 1}, {"a": 2}, name=name)
    with closing(open_sink(s3, name)) as sink:
        outcomes = sink.deliver(consignment)
    assert [outcome.is_delivered for outcome in outcomes] == [True, True]
    assert outcomes[0].detail == f"2 rows in s3://rows/out/night-r1.{suffix}"
    assert list(s3.objects) == [f"rows/out/night-r1.{suffix}"]
    assert s3.list_methods() == ["PUT"]
    assert s3.asked[0].headers["if-none-match"] == "*"


def test_jsonl_holds_exactly_the_payloads(s3, sink):
    consignment = make_consignment({"a": 1}, {"a": "é"})
    sink.deliver(consignment)
    assert s3.objects[PLACE] == b"".join(payload.body + b"\n" for payload in consignment.payloads)


def test_no_rows_make_no_object(s3, sink):
    assert sink.deliver(Consignment("r1", [])) == []
    assert sink.recall(Consignment("r1", []), None) == []
    assert s3.asked == []


@pytest.mark.parametrize("names_condition", [True, False])
def test_a_release_put_twice_was_there_already(s3, sink, names_condition):
    s3.names_condition = names_condition
    sink.deliver(make_consignment())
    (outcome,) = sink.deliver(make_consignment())
    assert outcome.is_delivered
    assert outcome.detail.endswith("it was there already")
    assert s3.list_methods() == ["PUT", "PUT", "GET"]


def test_each_release_is_an_object_of_its_own(s3, sink):
    for release_id in ("r1", "r2"):
        sink.deliver(make_consignment(release_id=release_id))
    assert list(s3.objects) == [PLACE, "rows/out/r2.jsonl"]


def test_another_object_in_its_place_is_left_as_it_is(s3, sink):
    s3.objects[PLACE] = b"theirs"
    (outcome,) = sink.deliver(make_consignment())
    assert not outcome.is_delivered
    assert "other bytes" in outcome.detail
    assert s3.objects == {PLACE: b"theirs"}


def test_sixteen_at_once_make_one_object_and_all_report_it(s3):
    sinks = [open_sink(s3) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        outcomes = [found for (found,) in pool.map(lambda i: sinks[i % 4].deliver(make_consignment()), range(16))]
    for sink in sinks:
        sink.close()
    assert all(outcome.is_delivered for outcome in outcomes)
    assert sum(outcome.detail.endswith("it was there already") for outcome in outcomes) == 15
    assert list(s3.objects) == [PLACE]


def test_of_sixteen_releases_under_one_id_one_stays(s3, sink):
    with ThreadPoolExecutor(16) as pool:
        outcomes = [found for (found,) in pool.map(lambda n: sink.deliver(make_consignment({"a": n})), range(16))]
    assert sum(outcome.is_delivered for outcome in outcomes) == 1
    kept = [outcome.is_delivered for outcome in outcomes].index(True)
    assert json.loads(s3.objects[PLACE])["a"] == kept


def test_an_object_above_the_size_for_parts_is_one_put_too(s3, sink):
    consignment = make_consignment({"a": "x" * 101 * 2**20})
    assert sink.deliver(consignment)[0].is_delivered
    assert sink.deliver(consignment)[0].is_delivered
    assert s3.list_methods() == ["PUT", "PUT", "GET"]
    assert {asked.query for asked in s3.asked if asked.method == "PUT"} <= {"", "x-id=PutObject"}


def test_an_answer_that_is_cut_off_is_asked_for_again(s3, sink):
    s3.troubles = [Trouble("PUT", is_done=True)]
    (outcome,) = sink.deliver(make_consignment())
    assert outcome.is_delivered
    assert outcome.detail.endswith("it was there already")
    assert list(s3.objects) == [PLACE]


def test_a_lost_answer_defers_and_the_next_delivery_finds_the_object(s3, sink):
    s3.troubles = [LOST]
    with pytest.raises(DeliveryDeferred, match="cannot be reached or written now"):
        sink.deliver(make_consignment())
    (outcome,) = sink.deliver(make_consignment())
    assert outcome.is_delivered
    assert list(s3.objects) == [PLACE]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "InvalidAccessKeyId"),
        (403, "AccessDenied"),
        (409, "ConditionalRequestConflict"),
        (501, "NotImplemented"),
        (503, "ServiceUnavailable"),
        (500, "Unheard"),
    ],
)
def test_a_store_that_refuses_defers_on_one_line_without_secrets(s3, sink, status, code):
    s3.troubles = [Trouble("PUT", status, code=code, message="no\nsesame-0123456789 for AKIAFAKE0123")]
    with pytest.raises(DeliveryDeferred, match=r"no … for …") as caught:
        sink.deliver(make_consignment())
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert s3.objects == {}


def test_an_object_that_cannot_be_compared_defers(s3, sink):
    sink.deliver(make_consignment())
    s3.troubles = [Trouble("GET", 403, code="AccessDenied")]
    with pytest.raises(DeliveryDeferred, match="PermissionError"):
        sink.deliver(make_consignment())


@pytest.mark.parametrize("work", ["deliver", "recall"])
def test_a_missing_bucket_defers(s3, sink, work):
    s3.missing_buckets = {"rows"}
    with pytest.raises(DeliveryDeferred, match="bucket does not exist"):
        sink.deliver(make_consignment()) if work == "deliver" else sink.recall(make_consignment(), None)


def test_a_store_that_is_not_there_defers(s3):
    with FakeS3() as gone:
        pass
    with closing(open_sink(gone)) as sink, pytest.raises(DeliveryDeferred, match="cannot be reached"):
        sink.deliver(make_consignment())


def test_rows_that_are_no_table_are_refused_for_good(s3):
    name = "s3://rows/{release}.parquet"
    with closing(open_sink(s3, name)) as sink:
        outcomes = sink.deliver(make_consignment({"a": 1}, {"a": "x"}, name=name))
        with pytest.raises(SinkRefused, match="do not fit"):
            sink.check(make_consignment({"a": {}}, name=name).payloads[0])
    assert [outcome.is_delivered for outcome in outcomes] == [False, False]
    assert s3.asked == []


def test_a_recall_deletes_exactly_the_object_that_was_compared(s3, sink):
    sink.deliver(make_consignment())
    (outcome,) = sink.recall(make_consignment(), None)
    assert outcome.is_delivered
    assert outcome.detail == f"s3://{PLACE} is deleted"
    assert s3.objects == {}
    assert s3.list_methods() == ["PUT", "HEAD", "GET", "DELETE"]
    assert s3.asked[-1].headers["if-match"].strip('"')


def test_recalling_twice_is_harmless(s3, sink):
    sink.deliver(make_consignment())
    sink.recall(make_consignment(), None)
    (outcome,) = sink.recall(make_consignment(), None)
    assert outcome.is_delivered
    assert outcome.detail == f"s3://{PLACE} was gone already"


def test_what_is_recalled_can_be_delivered_again(s3, sink):
    for _ in range(2):
        assert sink.deliver(make_consignment())[0].is_delivered
        assert sink.recall(make_consignment(), None)[0].is_delivered


def test_an_object_that_was_changed_since_is_not_deleted(s3, sink):
    sink.deliver(make_consignment())
    s3.objects[PLACE] = b"edited"
    (outcome,) = sink.recall(make_consignment(), None)
    assert not outcome.is_delivered
    assert outcome.detail == f"s3://{PLACE} was changed since release r1: it is left as it is."
    assert s3.objects == {PLACE: b"edited"}


def test_an_object_that_is_changed_between_reading_and_deleting_is_not_deleted(s3, sink):
    sink.deliver(make_consignment())
    s3.troubles = [Trouble("DELETE", 412, code="PreconditionFailed")]
    assert not sink.recall(make_consignment(), None)[0].is_delivered
    assert list(s3.objects) == [PLACE]


def test_a_delete_whose_answer_was_lost_is_recalled_when_asked_again(s3, sink):
    sink.deliver(make_consignment())
    s3.troubles = [Trouble("DELETE", is_done=True), Trouble("DELETE", 412, code="PreconditionFailed")]
    assert sink.recall(make_consignment(), None)[0].is_delivered
    assert s3.objects == {}


def test_a_delete_that_is_refused_defers(s3, sink):
    sink.deliver(make_consignment())
    s3.troubles = [Trouble("DELETE", 403, code="AccessDenied")]
    with pytest.raises(DeliveryDeferred, match="PermissionError"):
        sink.recall(make_consignment(), None)
    assert list(s3.objects) == [PLACE]


@pytest.mark.parametrize("release_id", ["../r1", "a/b", "", "r1?versionId=2", "r1#2"])
def test_a_release_that_could_lead_elsewhere_is_refused(s3, sink, release_id):
    for work in (
        lambda: sink.deliver(make_consignment(release_id=release_id)),
        lambda: sink.recall(make_consignment(release_id=release_id), None),
    ):
        with pytest.raises(SinkRefused, match="cannot be a part of a file's name"):
            work()
    assert s3.asked == []


@pytest.mark.parametrize("credential", ["sesame", '["sesame"]', '{"key": "sesame"', '"sesame"'])
def test_a_credential_that_is_no_json_object_is_refused_without_repeating_it(credential):
    with pytest.raises(SinkRefused, match="not a JSON object") as caught:
        ObjectSink(NAME, allow_hosts=HERE, credential=credential)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "options", [{"config_kwargs": {"no_such": 1}}, {"username": "sesame-0123456789"}, {"endpoint_url": 5}]
)
def test_options_that_are_none_are_refused_without_repeating_secrets(s3, options):
    with pytest.raises(SinkRefused, match="does not take") as caught:
        open_sink(s3, **options)
    assert "sesame" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["connection_string", "asynchronous", "version_aware"])
def test_options_that_would_undo_the_guards_are_refused(s3, option):
    with pytest.raises(SinkRefused, match=f"holds {option}, which"):
        open_sink(s3, **{option: "x"})


@pytest.mark.parametrize("where", ["option", "client", "environment"])
def test_an_endpoint_inside_the_house_is_refused_unless_allowed_by_name(s3, monkeypatch, where):
    options = json.loads(s3.make_credential())
    url = options.pop("endpoint_url")
    if where == "option":
        options["endpoint_url"] = url
    elif where == "client":
        options["client_kwargs"]["endpoint_url"] = url
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    with pytest.raises(SinkRefused, match="OVERNIGHT_ALLOW_HOSTS"):
        ObjectSink(NAME, allow_hosts=frozenset(), credential=json.dumps(options))
    with closing(ObjectSink(NAME, allow_hosts=HERE, credential=json.dumps(options))) as sink:
        assert sink.deliver(make_consignment())[0].is_delivered


@pytest.mark.parametrize("endpoint", ["http://key:sesame@127.0.0.1", "http://", "http://[::1"])
def test_an_endpoint_without_a_host_or_with_a_password_is_refused(s3, endpoint):
    with pytest.raises(SinkRefused, match="names no host") as caught:
        open_sink(s3, endpoint_url=endpoint)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "module", "to_install"),
    [
        ("s3", "s3fs", r"overnight\[s3\]"),
        ("gs", "gcsfs", "gcsfs"),
        ("az", "adlfs", "adlfs"),
        ("s3", "fsspec", "overnight"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, scheme, module, to_install):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SinkRefused, match=f"needs {module}.* Install {to_install}"):
        ObjectSink(f"{scheme}://rows/{{release}}.jsonl", allow_hosts=HERE)
