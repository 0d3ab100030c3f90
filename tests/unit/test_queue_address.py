"""A queue is named as people have it at hand."""

import pytest

from nightscribe.shared.errors import SetupError
from nightscribe.shared.queue.address import QueueAddress
from nightscribe.shared.settings import load_settings


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("a.fifo", QueueAddress("a.fifo")),
        (
            "https://sqs.eu-central-1.amazonaws.com/123456789012/a.fifo",
            QueueAddress("a.fifo", "123456789012", "eu-central-1"),
        ),
        (
            "https://us-gov-west-1.queue.amazonaws.com/123456789012/a.fifo",
            QueueAddress("a.fifo", "123456789012", "us-gov-west-1"),
        ),
        (
            "https://vpce-1a2b-3c4d.sqs.us-east-1.vpce.amazonaws.com/123456789012/a.fifo",
            QueueAddress("a.fifo", "123456789012", "us-east-1"),
        ),
        ("https://queue.amazonaws.com/123456789012/a.fifo", QueueAddress("a.fifo", "123456789012")),
        ("http://localhost:4566/000000000000/a.fifo", QueueAddress("a.fifo", endpoint="http://localhost:4566")),
        (
            "http://localhost:4566/queue/us-east-1/000000000000/a.fifo",
            QueueAddress("a.fifo", endpoint="http://localhost:4566"),
        ),
    ],
)
def test_a_name_or_a_url_says_where_a_queue_is(address: str, parsed: QueueAddress) -> None:
    """As far as it does: the environment says the rest."""
    assert QueueAddress.parse(address) == parsed


@pytest.mark.parametrize(
    "address", ["jobs", "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs", "http://localhost:4566/", "s3://a"]
)
def test_a_standard_queue_is_refused_by_its_name(address: str) -> None:
    """With what is wrong about it and what to do, before anybody is asked."""
    with pytest.raises(SetupError, match=r"--queue-name is .* is not the name of a FIFO queue.* let the director do"):
        load_settings(queue_name=address)


@pytest.mark.parametrize("name", ["", "a b", "é", "a" * 71, "a/b?"])
def test_a_name_that_no_queue_can_have_is_refused(name: str) -> None:
    """In the words of its rule."""
    with pytest.raises(SetupError, match="at most 70 letters"):
        load_settings(queue_name=f"{name}.fifo")
