"""The changes that a test must notice can still be made; `python tests/mutations.py` makes them."""

import pytest
from mutations import MUTATIONS, trouble


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_change_still_applies_and_its_test_is_there(mutation):
    assert mutation.old != mutation.new
    assert not trouble(mutation)
