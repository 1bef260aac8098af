"""What all kinds of models share of random numbers: seeds, and the normal distribution."""

from windfall.lowering.context import GraphContext, Value


def onnx_seed(seed: int) -> float | None:
    """Return the seed for an ONNX operator, None where each process is to draw other numbers.

    coremltools writes -1 for that. ONNX's seed is a float32, which holds 24 bits. They are mixed, as the first numbers
    that ONNX Runtime draws for small seeds are close to 0.
    """
    return None if seed == -1 else float((seed * 0x9E3779B1 + 0x7F4A7C15) % 2**24)


def draw_normal(ctx: GraphContext, like: Value, mean: float, deviation: float, seed: int) -> Value:
    """Draw from the normal distribution, a tensor of another one's shape.

    Args:
        ctx: The graph being built.
        like: float, any shape.
        mean: The distribution's mean.
        deviation: Its standard deviation, 0 or more.
        seed: See ``onnx_seed``.
    """
    # ONNX Runtime ends the process at a scale of 0, which a small one becomes in float32.
    draws = ctx.op("RandomNormalLike", like, seed=onnx_seed(seed))
    return ctx.op("Add", ctx.op("Mul", draws, ctx.floats(deviation)), ctx.floats(mean))
