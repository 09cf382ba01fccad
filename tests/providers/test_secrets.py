"""What a connector signs in with is in no error, whatever the server or the network does."""

from typing import TYPE_CHECKING

import pytest

from windsock.errors import ProviderFailed, ProviderRejectedCredentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.conftest import Lab, Reply, Request
    from windsock.providers.airflow import Airflow
    from windsock.providers.base import ProviderRun

RUN = {"dag_id": "d", "dag_run_id": "r", "run_after": "2026-11-23T14:00:00Z"}


async def one_run(airflow: "Airflow") -> "ProviderRun | None":
    return await airflow.run("d", "r")


def exception_text(failure: BaseException) -> str:
    chain: list[BaseException | None] = [failure, failure.__cause__, failure.__context__]
    return " ".join(f"{error} {error!r} {error.args} {vars(error)}" for error in chain if error is not None)


@pytest.mark.parametrize("kind", ["password", "api_token"])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_provider_errors_contain_no_secret(lab: "Lab", api: str, kind: str) -> None:
    secret, jwt = (lab.password if kind == "password" else lab.token), "planted-jwt-1234"
    # The server repeats what it was sent; the last time so late that its words are cut in the middle of the secret.
    echo = f"{jwt} {secret} ".ljust(289, "x") + secret

    def script(reply: "Reply") -> "Callable[[Request], Reply]":
        def script(request: "Request") -> "Reply":
            if request.path == "/auth/token" and reply.status != 422:
                return lab.Reply({"access_token": jwt}, status=201)
            return reply

        return script

    for reply in (
        lab.Reply({"detail": echo}, status=422),
        lab.Reply({"detail": [{"msg": echo, "input": echo}]}, status=401),
        lab.Reply({"title": echo}, status=403),
        lab.Reply({"error": echo}, status=500),
        lab.Reply(echo.encode(), content_type="text/html"),
        lab.Reply(b"", status=302, headers={"Location": f"/login/{secret}/{jwt}"}),
        lab.Reply(echo.encode()),
        lab.Reply(drops=True),
        lab.Reply(RUN, delay=1.2),
    ):
        with pytest.raises(ProviderFailed) as caught:
            lab.against(script(reply), one_run, api, kind=kind, timeout_seconds=1)
        text = exception_text(caught.value)
        assert secret[:9] not in text
        assert kind == "api_token" or api == "v1" or reply.status == 422 or jwt not in text


def test_token_with_invalid_characters_is_refused_without_disclosing_it(lab: "Lab") -> None:
    for token in ("planted-token\nX: y", "planted-tökén", "planted token"):
        lab.token = token
        with pytest.raises(ProviderRejectedCredentials) as caught:
            lab.against(lambda _: lab.Reply(RUN), one_run)
        assert "planted" not in exception_text(caught.value)
