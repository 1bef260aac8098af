import numpy as np

import windfall
from tests.classical import array, model_spec, pipeline_spec
from tests.support import layer_spec


def test_a_model_with_a_function_of_the_users_is_quantized_after_a_prediction_too():
    rng = np.random.default_rng(0)
    size = array(32, dtype="FLOAT32")
    extractor = model_spec("visionFeaturePrint", {"p": size}, {"x0": size}, {"scene": {"version": 1}})
    weights = rng.normal(size=(32, 32)).astype(np.float32)
    fields = {"inputChannels": 32, "outputChannels": 32, "weights": {"floatValue": weights}}
    network = layer_spec("innerProduct", np.zeros(32), **fields)
    spec = pipeline_spec([extractor, network], {"p": size}, {"y0": size})
    spec.specificationVersion = 5
    x = rng.normal(size=32).astype(np.float32)
    model = windfall.load(spec, feature_extractor=lambda value: value)
    before = model.predict({"p": x})["y0"]
    small = windfall.quantize_weights(model, bits=2)
    lone = windfall.quantize_weights(windfall.load(network), bits=2)
    np.testing.assert_allclose(small.predict({"p": x})["y0"], lone.predict({"x0": x})["y0"], rtol=1e-5)
    np.testing.assert_array_equal(model.predict({"p": x})["y0"], before)
    assert not np.allclose(small.predict({"p": x})["y0"], before, rtol=1e-3)
