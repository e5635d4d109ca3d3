"""An object store on loopback: as much of S3's protocol as pyarrow speaks, with buckets and credentials."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"
KEY = "a-key-that-is-known"


class FakeS3(ThreadingHTTPServer):
    """Holds one bucket's objects in memory; answers only to requests that are signed with `KEY`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[str] = []

    @property
    def environment(self):
        """What a process needs to know to find the store."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def running_store():
    """Serve an empty bucket."""
    with FakeS3() as store:
        threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield store
        finally:
            store.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeS3

    def log_message(self, *_):
        """Say nothing."""

    def _handle(self):
        url = urlsplit(self.path)
        bucket, _, self.object = unquote(url.path).lstrip("/").partition("/")
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.body = self._read_body()
        self.server.requests.append(f"{self.command} {self.object}")
        if KEY not in self.headers.get("Authorization", ""):
            self._refuse(403, "AccessDenied", "Access Denied")
        elif bucket != BUCKET:
            self._refuse(404, "NoSuchBucket", "The specified bucket does not exist")
        elif self.object:
            getattr(self, f"_{self.command.lower()}_object")()
        else:
            self._answer(200, self._listing() if self.command == "GET" else b"")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - names that http.server calls

    def _read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        # Streamed bodies come in signed chunks, which are no part of the object.
        return _unwrapped(body) if self.headers.get("x-amz-content-sha256", "").startswith("STREAMING") else body

    def _get_object(self):
        content = self.server.objects.get(self.object)
        if content is None:
            self._refuse(404, "NoSuchKey", "The specified key does not exist.")
            return
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            self._answer(200, content)
            return
        first, last = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
        self._answer(206, content[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    _head_object = _get_object

    def _put_object(self):
        if "uploadId" in self.query:
            self.server.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
        else:
            self.server.objects[self.object] = self.body
        self._answer(200, headers={"ETag": '"tag"'})

    def _post_object(self):
        if "uploads" in self.query:
            upload = str(len(self.server.uploads))
            self.server.uploads[upload] = {}
            self._xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
            return
        parts = self.server.uploads.pop(self.query["uploadId"])
        self.server.objects[self.object] = b"".join(parts[number] for number in sorted(parts))
        self._xml("CompleteMultipartUploadResult", "<ETag>tag</ETag>")

    def _delete_object(self):
        self.server.objects.pop(self.object, None)
        self._answer(204)

    def _listing(self):
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        files, folders = "", set()
        for name, content in sorted(self.server.objects.items()):
            rest = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            files += f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size></Contents>"
        listed = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        count = f"<KeyCount>{files.count('<Key>') + len(folders)}</KeyCount>"
        return _document("ListBucketResult", f"<IsTruncated>false</IsTruncated>{count}{files}{listed}")

    def _xml(self, root, inside):
        self._answer(200, _document(root, inside))

    def _refuse(self, status, code, message):
        self._answer(status, _document("Error", f"<Code>{code}</Code><Message>{message}</Message>"))

    def _answer(self, status, content=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _unwrapped(body):
    content = b""
    while (head := re.match(rb"([0-9A-Fa-f]+)[^\r]*\r\n", body)) and (size := int(head[1], 16)):
        content += body[head.end() : head.end() + size]
        body = body[head.end() + size + 2 :]
    return content


def _document(root, inside):
    return f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inside}</{root}>'.encode()
