"""What holds for every request: tokens, bodies, limits, paths."""

import gzip
from collections.abc import Callable

import asyncpg
import pytest

from services.api.request import BODY_BYTES_MAX
from services.runtime.tokens import create_token
from tests.api.conftest import Api, Scenario

Play = Callable[[Scenario], None]


def test_nothing_is_answered_without_a_token(play: Play) -> None:
    async def scenario(api: Api) -> None:
        for headers in (
            {"Authorization": ""},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {api.token}"},
        ):
            for path in ("/v1/customers", "/v1/nowhere"):
                reply = await api.http.get(path, headers=headers)
                assert reply.status_code == 401
                assert reply.headers["www-authenticate"] == "Bearer"
                assert list(reply.json()) == ["message"]
        for path in ("/openapi.json", "/v1/docs/openapi"):
            reply = await api.http.get(path, headers={"Authorization": ""})
            assert reply.status_code == 200
            assert reply.json()["info"]["title"] == "Tollgate"

    play(scenario)


def test_a_new_token_works_at_once(play: Play, database_url: str) -> None:
    async def scenario(api: Api) -> None:
        await api.get("/v1/customers")
        token = await create_token(database_url, "newcomer")
        headers = {"Authorization": f"bearer {token}"}
        assert (await api.http.get("/v1/customers", headers=headers)).status_code == 200

    play(scenario)


def test_json_is_read_whatever_it_is_called(play: Play) -> None:
    async def scenario(api: Api) -> None:
        for label in ("application/x-www-form-urlencoded", "text/plain", ""):
            reply = await api.http.post(
                "/v1/customers", content=b'{"name": "curl"}', headers={"Content-Type": label}
            )
            assert reply.status_code == 200, reply.text
        reply = await api.http.post(
            "/v1/customers",
            content=gzip.compress(b'{"name": "packed"}'),
            headers={"Content-Encoding": "gzip"},
        )
        assert reply.json()["data"]["name"] == "packed"

    play(scenario)


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 400, "body"),
        (b"{", 400, "JSON"),
        (b"[]", 400, "object"),
        (b"null", 400, "body"),
        (b'{"name": "\xff"}', 400, "UTF-8"),
        (b'{"name": "a\\u0000"}', 400, "NUL"),
        (b'{"name": "a", "custom_fields": {"k\\u0000": "v"}}', 400, "NUL"),
        (b'{"name": "\\ud800"}', 400, ""),
        (b'{"name": "\\udc00x"}', 400, ""),
        (b'{"name": "x", "custom_fields": ' + b"[" * 100_000, 400, ""),
        (b'{"name": 1e999999999999999999999}', 400, ""),
        (b'{"name": "' + b"x" * BODY_BYTES_MAX + b'"}', 413, "bytes"),
    ],
)
def test_a_body_that_cannot_be_kept_is_refused(
    play: Play, content: bytes, status: int, says: str
) -> None:
    async def scenario(api: Api) -> None:
        reply = await api.http.post("/v1/customers", content=content)
        assert reply.status_code == status, reply.text
        assert says in reply.json()["message"]

    play(scenario)


def test_gzip_is_bounded_and_must_be_whole(play: Play) -> None:
    async def scenario(api: Api) -> None:
        bomb = gzip.compress(b" " * (BODY_BYTES_MAX + 1))
        cut = gzip.compress(b'{"name": "cut"}')[:-4]
        for content, encoding, status in (
            (bomb, "gzip", 413),
            (cut, "gzip", 400),
            (b"{}", "gzip", 400),
            (b"{}", "br", 415),
        ):
            reply = await api.http.post(
                "/v1/customers", content=content, headers={"Content-Encoding": encoding}
            )
            assert reply.status_code == status, reply.text

    play(scenario)


def test_paths_and_ids_that_are_not_there(play: Play) -> None:
    async def scenario(api: Api) -> None:
        nobody = "00000000-0000-4000-8000-000000000000"
        for path in (
            "/v1/nowhere",
            "/v1/customers/",
            f"/v1/customers/{nobody}",
            "/v1/customers/not-a-uuid",
            f"/v1/customers/{nobody}/plans",
            f"/v1/customers/{nobody}/invoices",
            f"/v1/customers/{nobody}/invoices/{nobody}",
            f"/v1/customers/{nobody}/billable-metrics",
            f"/v1/planDetails/{nobody}",
            f"/v1/planDetails/{nobody}/charges",
            f"/v1/planDetails/{nobody}/customers",
            f"/v1/billable-metrics/{nobody}",
        ):
            assert list(await api.get(path, expect=404)) == ["message"], path
        assert "not-a-uuid" in (await api.get("/v1/customers/not-a-uuid", 404))["message"]
        reply = await api.http.delete("/v1/customers")
        assert reply.status_code == 405
        assert "message" in reply.json()
        await api.post("/v1/customers/archive", {"id": nobody}, expect=404)
        await api.post(f"/v1/customers/{nobody}/setName", {"name": "n"}, expect=404)

    play(scenario)


def test_an_absent_database_is_503(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api) -> None:
        await api.get("/v1/customers")
        for error in (
            ConnectionRefusedError(),
            TimeoutError(),
            asyncpg.CannotConnectNowError("starting up"),
            asyncpg.InterfaceError("pool is closed"),
        ):

            def refuse(*_: object, error: Exception = error, **__: object) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(type(api.pool), "acquire", refuse)
                reply = await api.http.get("/v1/customers")
            assert reply.status_code == 503
            assert reply.headers["retry-after"] == "1"

    play(scenario)


def test_a_bug_shows_no_stack_trace(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api) -> None:
        await api.get("/v1/customers")

        def fail(*_: object, **__: object) -> None:
            raise KeyError("secret")

        monkeypatch.setattr(type(api.pool), "acquire", fail)
        reply = await api.http.get("/v1/customers")
        assert reply.status_code == 500
        assert "secret" not in reply.text

    play(scenario)
