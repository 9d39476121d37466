"""Where a device is: a tracker's key, or a server."""

import pytest

from tvm_c4n.errors import C4nError
from tvm_c4n.runtime.device.rpc import RpcAddress, parse_address


def test_addresses():
    assert parse_address("rpc://10.0.0.7:9190/pixel-8") == RpcAddress("10.0.0.7", 9190, "pixel-8")
    assert parse_address("rpc://localhost:9090").key is None
    assert str(parse_address("rpc://localhost:9090/a")) == "rpc://localhost:9090/a"
    for text in ("rpc://", "rpc://host", "rpc://host:0/x", "rpc://host:99999", "rpc://h:1/a b"):
        with pytest.raises(C4nError, match="is no device"):
            parse_address(text)
