"""A custom model that combines features of two kinds: what a microphone and what a motion sensor say of an activity.

Each kind has an opinion of its own, softmax(features @ weights); the model weighs them by how sure they are (their
entropy), and does with one where the other is missing. Run it: python examples/custom/audio_motion.py
"""

from typing import Any

import numpy as np

import windfall
from windfall.description import ArrayType, DictionaryType, FeatureDescription

ACTIVITIES = ["chopping", "running", "typing"]
BANDS = 12
MOTIONS = ["pitch", "roll", "shake", "steps"]


@windfall.custom_model("AudioMotion")
class AudioMotion(windfall.CustomModel):
    """Name an activity by an array of audio features and a dictionary of motion features.

    Parameters: ``audio`` and ``motion``, float32 weights [features, activities] as bytes; ``activities``, one a line.
    """

    def __init__(self, description: Any, parameters: Any) -> None:
        super().__init__(description, parameters)
        self.activities = parameters["activities"].split("\n")
        count = len(self.activities)
        self.audio, self.motion = (
            np.frombuffer(parameters[name], np.float32).reshape(-1, count) for name in ("audio", "motion")
        )

    def predict(self, inputs: Any, options: Any) -> Any:
        """Return an activity and how likely each is."""
        return self.predict_batch([inputs], options)[0]

    def predict_batch(self, batch: Any, options: Any) -> Any:  # noqa: ARG002  # it needs none
        """Return the same for many rows, with one product of matrices for each kind of features."""
        audio = np.stack([row["audio"] for row in batch])
        motion = np.array([[(row["motion"] or {}).get(name, 0.0) for name in MOTIONS] for row in batch])
        opinions = np.stack([softmax(audio @ self.audio), softmax(motion @ self.motion)])  # [kinds, rows, activities]
        doubt = -(opinions * np.log(opinions + 1e-12)).sum(axis=-1, keepdims=True) / np.log(len(self.activities))
        sure = 1 - doubt + 1e-6
        sure[1, [not row["motion"] for row in batch]] = 0
        mixed = (opinions * sure).sum(axis=0) / sure.sum(axis=0)
        return [self._result(row) for row in mixed]

    def _result(self, row: Any) -> Any:
        likely = {name: float(value) for name, value in zip(self.activities, row, strict=True)}
        return {"activity": max(likely, key=likely.__getitem__), "likely": likely}


def softmax(scores: Any) -> Any:
    """Return numbers that add up to 1 along the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def activity_model(seed: int = 0) -> Any:
    """Return the model as a ``Model`` message."""
    random = np.random.default_rng(seed)
    weights = {
        "audio": random.normal(size=(BANDS, len(ACTIVITIES))),
        "motion": random.normal(size=(len(MOTIONS), len(ACTIVITIES))),
    }
    return windfall.custom.make_model(
        "AudioMotion",
        inputs={
            "audio": ArrayType("DOUBLE", (BANDS,)),
            "motion": FeatureDescription("motion", DictionaryType("string"), optional=True),
        },
        outputs={"activity": str, "likely": dict[str, float]},
        parameters={name: array.astype(np.float32).tobytes() for name, array in weights.items()}
        | {"activities": "\n".join(ACTIVITIES)},
        description="Combines audio and motion features",
    )


def main() -> None:
    """Show what it does."""
    model = windfall.load(activity_model())
    audio = np.random.default_rng(1).normal(size=BANDS)
    print(model.predict({"audio": audio, "motion": {"shake": 2.0, "steps": 1.5}}))
    print(model.predict({"audio": audio}))


if __name__ == "__main__":
    main()
