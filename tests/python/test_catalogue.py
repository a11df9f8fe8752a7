"""The catalogue's files against botocore's models."""

import check_catalogue
import pytest
import wanted
import xml_hints


@pytest.mark.parametrize("path", check_catalogue.paths(), ids=lambda path: path.stem)
def test_a_file_says_what_aws_says(path):
    assert check_catalogue.File(path.read_text()).check() == []


def test_everything_that_an_inventory_wants_is_there():
    assert {path.stem for path in check_catalogue.paths()} == set(wanted.WANTED)
    assert sum(map(len, wanted.WANTED.values())) + sum(map(len, wanted.WITHHELD.values())) >= 332


def test_types_of_xml_answers_are_those_of_awss_models():
    assert xml_hints.differing() == []


@pytest.mark.parametrize(
    "file, right, wrong, said",
    [
        ("lambda", "GET /2015-03-31/functions\"", "GET /2015-03-31/function\"", "ListFunctions: 'GET /2015-03-31/function'"),
        ("lambda", 'out = "NextMarker"', 'out = "Marker"', "ListFunctions: pages.out: no Marker"),
        ("lambda", "max = 50", "max = 50000", "MaxItems is from 1 to 10000"),
        ("lambda", 'items = "Functions"', 'items = "Function"', "ListFunctions: no Function in the answer"),
        ("lambda", 'redact = ["Environment.Variables.*"]', 'redact = ["Environment.Variable.*"]', "redact: no Environment.Variable.*"),
        ("lambda", '["ResourceNotFoundException"]', '["NoSuchThing"]', "absent: NoSuchThing"),
        ("lambda", 'FunctionName = "FunctionName"', 'FunctionName = "Name"', "ListFunctions has no Name"),
        ("dynamodb", 'target_prefix = "DynamoDB_20120810"', 'target_prefix = "DynamoDB"', "target_prefix"),
        ("dynamodb", 'with = { TableName = "." }', "", "the required parameter TableName is not given"),
        ("ecs", '"ATTACHMENTS"', '"ATTACHMENT"', "include[] is one of"),
        ("ec2", "Owner = [", "OwnerIds = [", "no parameter OwnerIds"),
        ("iam", 'name = "ListSAMLProviders"', 'name = "ListSamlProviders"', "AWS has no such operation"),
        ("sts", 'api_version = "2011-06-15"', 'api_version = "2011-06-16"', "api_version"),
        ("ssm", 'keep = ["TagList"]', 'keep = ["Tags"]', "keep: no Tags"),
    ],
)
def test_a_mistake_is_found(file, right, wrong, said):
    text = next(path for path in check_catalogue.paths() if path.stem == file).read_text()
    assert right in text
    assert any(said in problem for problem in check_catalogue.File(text.replace(right, wrong, 1)).check())
