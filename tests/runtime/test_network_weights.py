import numpy as np

import windfall
from tests.support import layer_spec
from windfall.runtime.serialize import serialize


def test_float16_weights_of_a_network_stay_in_the_file(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 96)).astype(np.float16)
    x = rng.normal(size=96).astype(np.float32)
    spec = layer_spec(
        "innerProduct", x, inputChannels=96, outputChannels=64, weights={"float16Value": weights.tobytes()}
    )
    path = tmp_path / "half.mlmodel"
    path.write_bytes(spec.SerializeToString())
    model = windfall.load(path)
    np.testing.assert_allclose(model.predict({"x0": x})["y0"], weights.astype(np.float32) @ x, rtol=1e-5, atol=1e-5)
    serialized = serialize(model.compiled.graph)
    assert serialized.folder == tmp_path
    assert not serialized.arrays
    assert len(serialized.proto) < weights.nbytes
