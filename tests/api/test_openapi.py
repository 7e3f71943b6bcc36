"""The description of the API is the one that is served, and names what the reference names."""

import json
from importlib.resources import files

from services.api.openapi import describe, document_text


def test_the_file_is_up_to_date() -> None:
    written = files("schemas").joinpath("openapi.json").read_text(encoding="utf-8")
    assert written == document_text(), "run python -m services.api.openapi"


def test_it_describes_bodies_replies_errors_and_the_bearer() -> None:
    document = json.loads(document_text())
    assert document["info"]["title"] == "Tollgate"
    assert document["security"] == [{"bearerAuth": []}]
    assert document["paths"]["/v1/ingest"]["post"]["responses"].keys() == {
        "200",
        "400",
        "401",
        "408",
        "413",
        "503",
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert "422" not in operation["responses"]
            assert {"200", "400", "401", "503"} <= operation["responses"].keys(), path
            optional = path.endswith("/end")
            if method in ("post", "put"):
                assert operation["requestBody"].get("required", False) is not optional, path
    assert "HTTPValidationError" not in document["components"]["schemas"]
    plan = document["paths"]["/v1/plans/create"]["post"]["requestBody"]["content"]
    assert plan["application/json"]["schema"]["$ref"].endswith("CreatePlan")
    assert describe()["openapi"].startswith("3.1")


def test_every_reference_in_it_leads_somewhere() -> None:
    document = json.loads(document_text())
    text = document_text()
    names = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names <= document["components"]["schemas"].keys()
