"""Support vector machines made in memory, and computed in plain NumPy as libsvm does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tests.classical import model_spec

KERNELS: Mapping[str, Callable[[Any, Any, Mapping[str, float]], float]] = {
    "linearKernel": lambda x, s, _p: x @ s,
    "rbfKernel": lambda x, s, p: np.exp(-p["gamma"] * np.sum((x - s) ** 2)),
    "polyKernel": lambda x, s, p: (p["gamma"] * (x @ s) + p["c"]) ** int(p["degree"]),
    "sigmoidKernel": lambda x, s, p: np.tanh(p["gamma"] * (x @ s) + p["c"]),
}


def dense(vectors: Any) -> dict[str, Any]:
    return {"denseSupportVectors": {"vectors": [{"values": list(map(float, vector))} for vector in vectors]}}


def sparse(vectors: Any) -> dict[str, Any]:
    """Vectors without their zeros; indices begin at 1."""
    rows = [[{"index": i + 1, "value": float(v)} for i, v in enumerate(vector) if v] for vector in vectors]
    return {"sparseSupportVectors": {"vectors": [{"nodes": row} for row in rows]}}


def labelled(labels: Sequence[Any]) -> dict[str, Any]:
    return {("stringClassLabels" if isinstance(labels[0], str) else "int64ClassLabels"): {"vector": list(labels)}}


def regressor(fields: Mapping[str, Any], features: int) -> Any:
    return model_spec("supportVectorRegressor", {"x": (features,)}, {"y": "double"}, fields, predicted="y")


def classifier(fields: Mapping[str, Any], features: int) -> Any:
    word = "string" if "stringClassLabels" in fields else "int64"
    outputs = {"label": word, "scores": f"{word} dictionary"}
    kind = "supportVectorClassifier"
    return model_spec(kind, {"x": (features,)}, outputs, fields, predicted="label", probabilities="scores")


def machine(
    kernel: Mapping[str, Any],
    vectors: Any,
    sizes: Sequence[int],
    alpha: Any,
    rho: Sequence[float],
    prob: tuple[Sequence[float], Sequence[float]] = ((), ()),
    *,
    labels: Sequence[Any] = (),
    store: Callable[[Any], dict[str, Any]] = dense,
) -> dict[str, Any]:
    """Return the fields of a classifier."""
    return {
        "kernel": kernel,
        "numberOfSupportVectorsPerClass": list(sizes),
        "coefficients": [{"alpha": list(map(float, row))} for row in alpha],
        "rho": list(rho),
        "probA": list(prob[0]),
        "probB": list(prob[1]),
        **store(vectors),
        **labelled(labels or list(range(len(sizes)))),
    }


def decisions(kernel: Mapping[str, Any], vectors: Any, sizes: Any, alpha: Any, rho: Any, x: Any) -> list[float]:
    """The decision values of all pairs of classes for one row, as svm_predict_values has them."""
    ((name, params),) = kernel.items()
    values = [KERNELS[name](x, np.asarray(vector, float), params) for vector in vectors]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    found = []
    for i in range(len(sizes)):
        for j in range(i + 1, len(sizes)):
            total = sum(alpha[j - 1][k] * values[k] for k in range(start[i], start[i + 1]))
            total += sum(alpha[i][k] * values[k] for k in range(start[j], start[j + 1]))
            found.append(total - rho[len(found)])
    return found


def votes(found: Sequence[float], count: int) -> list[int]:
    """How many votes each class has."""
    counts = [0] * count
    values = iter(found)
    for i in range(count):
        for j in range(i + 1, count):
            counts[i if next(values) > 0 else j] += 1
    return counts


def probabilities(found: Sequence[float], a: Sequence[float], b: Sequence[float], count: int) -> Any:
    """The probability of each class: Platt's of pairs, coupled by algorithm 2 of Wu, Lin and Weng (2004)."""
    r = np.zeros((count, count))
    values = iter(zip(found, a, b, strict=True))
    for i in range(count):
        for j in range(i + 1, count):
            decision, slope, shift = next(values)
            with np.errstate(over="ignore"):
                r[i, j] = np.clip(1 / (1 + np.exp(decision * slope + shift)), 1e-7, 1 - 1e-7)
            r[j, i] = 1 - r[i, j]
    return np.array([r[0, 1], r[1, 0]]) if count == 2 else couple(r)


def couple(r: Any) -> Any:
    """Minimize p Q p, class by class, in the order of the paper and with the stopping rule of libsvm."""
    count = len(r)
    q = np.diag((r**2).sum(axis=0)) - r * r.T
    p = np.full(count, 1 / count)
    for _ in range(max(100, count)):
        qp = q @ p
        if np.max(np.abs(qp - p @ qp)) < 0.005 / count:
            break
        for t in range(count):
            qp = q @ p
            p[t] += (p @ qp - qp[t]) / q[t, t]
            p /= p.sum()
    return p
