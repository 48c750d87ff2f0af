"""Certificates of the tests' own, which nobody trusts unless told to."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def make_certificate(folder: Path, host: str) -> Path:
    """A certificate for a host, with its key in the same file; who trusts it trusts itself alone."""
    path = folder / f"{host}.pem"
    names = f"subjectAltName=DNS:{host}"
    usage = "keyUsage=critical,keyCertSign,digitalSignature"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={host}", "-addext", names, "-addext", usage]
    subprocess.run([*command, "-keyout", path, "-out", folder / "public.pem"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (folder / "public.pem").read_bytes())
    return path


def serve_tls(certificate: Path) -> ssl.SSLContext:
    """The server's side of TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
