"""`overtone tls`: a certificate for clients that speak only TLS."""

from __future__ import annotations

from pathlib import Path

import click

from overtone.cli.options import data_flag, data_option, load_settings, program
from overtone.disk import make_private

HINT = """\
Wrote {cert} and {key}. Start the service with them:
  {program} serve --tls-cert {cert} --tls-key {key}{data}
curl needs an option to trust it, Python's HTTP clients a variable:
  curl --cacert {cert} …
  export SSL_CERT_FILE={cert}
google-generativeai over gRPC needs this variable, set before Python starts:
  export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={cert}"""


@click.command()
@click.option(
    "--host", "hosts", multiple=True, help="Another name or address of this machine. May be repeated."
)
@data_option
def tls(hosts: tuple[str, ...], data: Path | None) -> None:
    """Make a self-signed certificate for localhost and each --host, in the data folder."""
    from overtone.cli.certificate import LOOPBACK, make_self_signed

    folder = load_settings(data=data).data.absolute()
    make_private(folder)
    cert, key = make_self_signed(folder / "tls", (*LOOPBACK, *hosts))
    click.echo(HINT.format(cert=cert, key=key, data=data_flag(folder), program=program()))
