import functools
import gzip
import http.server
import socket
import threading
import time
from contextlib import contextmanager

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from overnight.failures import InputRefused
from overnight.intake import check_source, remote
from tests.fakes.s3 import FakeS3, Trouble

CSV = b"id,text\n" + b"".join(b"%d,%s\n" % (n, b"a" * 100) for n in range(1, 3001))
LINES = b"".join(b'{"id":%d,"text":"b"}\n' % n for n in range(3001, 3004))


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory", skip_instance_cache=True)
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    nowhere = str(tmp_path_factory.mktemp("aws") / "none")
    with pytest.MonkeyPatch.context() as patch, FakeS3() as server:
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, nowhere)
        # As the store's own client reads them.
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE0123")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "sesame-0123456789")
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield server


@pytest.fixture
def s3(server):
    server.forget()
    return server


class Web(http.server.BaseHTTPRequestHandler):
    """Serves what the server has by path; a body of which a part is withheld is cut or stands still."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        status, data, trouble = self.server.files.get(self.path, (404, b"", ""))
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(data if not trouble else data[: len(data) // 2])
        if with_body and trouble == "hangs":
            self.server.goes_on.wait(20)

    def log_message(self, *args):
        pass


@contextmanager
def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.files, server.goes_on = {}, threading.Event()
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
    thread.start()
    try:
        yield server
    finally:
        server.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def web():
    with serve() as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server


def make_parquet():
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["a", "b"]}), buffer)
    return buffer.getvalue().to_pybytes()


def test_a_file_of_http_is_read_whatever_its_kind(intake, web):
    web.files = {
        "/a/rows.csv": (200, CSV, ""),
        "/rows.jsonl.gz": (200, gzip.compress(LINES), ""),
        "/rows.parquet": (200, make_parquet(), ""),
    }
    assert len(intake.read(f"{web.url}/a/rows.csv")) == 3000
    assert [row["row_id"] for row in intake.read(f"{web.url}/rows.jsonl.gz")] == ["3001", "3002", "3003"]
    assert [row["input"]["text"] for row in intake.read(f"{web.url}/rows.parquet")] == ["a", "b"]


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_what_http_refuses_is_refused_on_one_line(intake, web, status):
    web.files = {"/rows.csv": (status, b"no\nno", "")}
    with pytest.raises(InputRefused, match=r"rows\.csv cannot be read \(.+ credentials in the environment") as caught:
        intake.read(f"{web.url}/rows.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_answer_that_is_cut_in_the_middle_is_refused(intake, web, kind):
    web.files = {f"/rows.{kind}": (200, CSV if kind == "csv" else make_parquet(), "cut")}
    with pytest.raises(InputRefused, match=r"cannot be read .*ClientPayloadError"):
        intake.read(f"{web.url}/rows.{kind}")


def test_an_answer_that_stands_still_is_given_up(intake, web, monkeypatch):
    monkeypatch.setattr(remote, "_READ_S", 0.3)
    web.files = {"/rows.csv": (200, CSV, "hangs")}
    began = time.monotonic()
    with pytest.raises(InputRefused, match="Timeout"):
        intake.read(f"{web.url}/rows.csv")
    assert time.monotonic() - began < 5


def test_nobody_there_is_refused_on_one_line(intake):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(InputRefused, match="cannot be read") as caught:
            intake.read(f"http://127.0.0.1:{closed.getsockname()[1]}/rows.csv")
    assert "\n" not in str(caught.value)


def test_an_object_is_read_with_the_credentials_of_the_environment(intake, s3):
    s3.objects = {"rows/in/a.csv": CSV}
    assert len(intake.read("s3://rows/in/a.csv")) == 3000
    assert all("AKIAFAKE0123" in asked.headers["authorization"] for asked in s3.asked)
    assert {asked.method for asked in s3.asked} <= {"GET", "HEAD"}


@pytest.mark.parametrize("form", ["s3://rows/in", "s3://rows/in/", "s3://rows/in/*", "s3://rows/in/*.*"])
def test_a_folder_of_objects_is_one_stream(intake, s3, form):
    s3.objects = {"rows/in/b.jsonl": LINES, "rows/in/a.csv": CSV, "rows/in/_SUCCESS": b"", "rows/other/z.csv": CSV}
    rows = intake.read(form)
    assert [row["row_number"] for row in rows] == list(range(1, 3004))
    assert rows[-1]["row_id"] == "3003"


def test_a_folder_inside_a_folder_of_objects_is_refused_by_name(intake, s3):
    s3.objects = {"rows/in/a.csv": CSV, "rows/in/more/b.csv": CSV}
    with pytest.raises(InputRefused, match=r"holds 'rows/in/more', which would not be read"):
        intake.read("s3://rows/in/")
    assert len(intake.read("s3://rows/in/**/*.csv", id_column=None)) == 6000
    with pytest.raises(InputRefused, match="is no pattern"):
        intake.read("s3://rows/in/**.csv")


@pytest.mark.parametrize(
    ("url", "trouble", "why"),
    [
        ("s3://rows/in/none.csv", None, "FileNotFoundError"),
        ("s3://rows/none/", None, "FileNotFoundError|no file to read"),
        ("s3://rows/in/a.csv", Trouble("HEAD", 403, code="AccessDenied"), "PermissionError"),
    ],
)
def test_what_a_store_refuses_is_refused_on_one_line_without_its_key(intake, s3, url, trouble, why):
    s3.objects = {"rows/in/a.csv": CSV}
    s3.troubles = [trouble] if trouble else []
    with pytest.raises(InputRefused, match=why) as caught:
        intake.read(url)
    assert "\n" not in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_an_object_that_was_replaced_while_it_is_read_is_not_mixed(intake, s3):
    s3.objects = {"rows/in/a.csv": CSV}
    intake.read("s3://rows/in/a.csv")
    etags = {asked.headers.get("if-match") for asked in s3.asked if asked.method == "GET"}
    assert None not in etags
    assert len(etags) == 1


def test_memory_holds_rows_of_the_process_itself(intake, memory):
    memory.pipe("/in/a.csv", CSV)
    memory.pipe("/in/b.jsonl", LINES)
    assert len(intake.read("memory://in/")) == 3003


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://AKIA:sesame@rows/in/a.csv", "holds a user or a password"),
        ("https://ada:sesame@a.example/rows.csv", "holds a user or a password"),
        ("https://a.example/rows.csv?sig=sesame", "holds a query"),
        ("https://a.example/rows.csv#sesame", "fragment"),
        ("ftp://a.example/rows.csv", "scheme 'ftp' is none that can be read"),
        ("https:///rows.csv", "names no host"),
        ("https://[::1/rows.csv", "is no URL"),
    ],
)
def test_a_url_that_must_not_be_recorded_is_refused_without_repeating_it(intake, url, why):
    for read in (intake.read, check_source):
        with pytest.raises(InputRefused, match=why) as caught:
            read(url)
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(("url", "needed"), [("gs://b/rows.csv", "gcsfs"), ("az://b/rows.csv", "adlfs")])
def test_what_has_to_be_installed_is_said(intake, url, needed):
    try:
        __import__(needed)
    except ImportError:
        with pytest.raises(InputRefused, match=f"which is not there. Install {needed}"):
            intake.read(url)
    else:
        pytest.skip(f"{needed} is installed")


def test_what_http_cannot_list_is_refused(intake):
    with pytest.raises(InputRefused, match="cannot be listed"):
        intake.read("https://a.example/in/*.csv")
