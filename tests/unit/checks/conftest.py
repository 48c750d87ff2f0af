"""One child process for all tests that judge: the import of Great Expectations takes seconds."""

import json

import pytest

from overnight.checks import BatchValidator, parse_checks


@pytest.fixture(scope="session")
def validator():
    validator = BatchValidator()
    validator.start()
    yield validator
    validator.close()


@pytest.fixture
def judge(validator, tmp_path):
    """Judge outputs, numbered from 1, by batch rules as checks.json has them."""

    def judge(outputs, *rules, suite_name="triage", docs_dir=tmp_path / "docs", inputs=None):
        checks = parse_checks(json.dumps({"batch": rules}), prompt="triage")
        inputs = inputs or [{} for _ in outputs]
        rows = [
            {"row_number": n, "row_id": f"id-{n}", "input": given, "output": output}
            for n, (given, output) in enumerate(zip(inputs, outputs, strict=True), start=1)
        ]
        return validator.validate(rows, checks=checks, suite_name=suite_name, docs_dir=docs_dir)

    return judge
