"""Give the tests one certificate authority."""

import pytest

from tests.sandbox.egress.ground import Authority, make_authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that no real server trusts."""
    return make_authority(tmp_path_factory.mktemp("authority"))
