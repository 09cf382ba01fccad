"""The connection to one Airflow: its TLS settings, its client, and how far a request got."""

import ssl

from windsock import egress
from windsock.errors import ProviderUnreachable
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.airflow.content import ENCODINGS


class RequestTrace:
    """Told by the HTTP library what it does. `may_have_left`: the server may have got the request.

    A transport of tests tells nothing, so that the request counts as sent (`is_blind`).
    """

    def __init__(self, *, is_blind: bool) -> None:
        self.may_have_left = is_blind

    async def __call__(self, event: str, _details: object) -> None:
        if event.endswith("send_request_headers.started"):
            self.may_have_left = True


def open_airflow_client(
    config: AirflowConfig, policy: egress.Policy, transport: egress.AsyncBaseTransport | None
) -> egress.AsyncClient:
    """Raises ssl.SSLError or ValueError for a ca_certificate that is no PEM."""
    return egress.open_client(
        policy,
        tls=_tls(config),
        timeout_seconds=config.timeout_seconds,
        base_url=config.base_url,
        headers={
            "Accept": "application/json",
            "Accept-Encoding": ", ".join(ENCODINGS),
            "User-Agent": "windsock",
        },
        transport=transport,
    )


def peer_of(response: egress.Response) -> object:
    """The address that answered; None where the transport does not tell."""
    stream = response.extensions.get("network_stream")
    return None if stream is None else stream.get_extra_info("server_addr")


def unreadable_certificate(request_text: str) -> ProviderUnreachable:
    return ProviderUnreachable(
        f"{request_text} could not be sent to Airflow: ca_certificate is not a certificate.",
        hints=("ca_certificate must be PEM: it begins with -----BEGIN CERTIFICATE-----.",),
        request_sent=False,
    )


def _tls(config: AirflowConfig) -> ssl.SSLContext:
    if not config.base_url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = egress.create_ssl_context()
    if config.ca_certificate:
        context.load_verify_locations(cadata=config.ca_certificate)
    if not config.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
