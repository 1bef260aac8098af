"""A model run over photos: results into files, a progress bar, a summary."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import MofNCompleteColumn, ProgressColumn, Task
from rich.text import Text

from windfall.batches import run_items
from windfall.cli.batchfiles import CannotWriteError, sink_for
from windfall.cli.errors import message, print_error
from windfall.cli.journal import Journal, header_of
from windfall.cli.photos import Photo
from windfall.cli.progress import SlowProgress
from windfall.errors import FormatError, WindfallError
from windfall.spec.writing import write_file
from windfall.streams import Settings
from windfall.text import safe

if TYPE_CHECKING:
    from windfall.model import Model

_MOST_LISTED = 20


class RateColumn(ProgressColumn):
    """Photos in a second."""

    def render(self, task: Task) -> Text:
        """Return the number, once there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


class BatchProgress(SlowProgress):
    """Shows how many photos are done, how many in a second, and how long it will take."""

    def _columns(self) -> list[ProgressColumn]:
        return [MofNCompleteColumn(), RateColumn()]


class PhotoBatch:
    """Photos, and where the results go.

    Args:
        model: What is run.
        photos: On what.
        output: A folder or a file.
        top: How many classes to keep.

    Raises:
        FeatureError: The output cannot hold what the model gives.
        UnsupportedError: The model cannot be run, or Parquet is not installed.
    """

    def __init__(self, model: "Model", photos: Sequence[Photo], output: Path, top: int | None) -> None:
        self._model = model
        self._photos = photos
        self._output = output
        self._sink = sink_for(output, model.description, photos, top)

    def run(
        self,
        path: Path,
        options: Mapping[str, Any],
        fit: str,
        *,
        streams: int | None,
        resume: bool,
        as_json: bool,
    ) -> None:
        """Run the model on all photos that are not done yet, and print a summary.

        Args:
            path: The model's file.
            options: What decides the results besides.
            fit: How photos are brought to the model's size.
            streams: Predictions at once, None for the fastest.
            resume: Whether to go on with what was begun.
            as_json: Print the summary as JSON.

        Raises:
            WindfallError: Some photos failed, results cannot be written, or the batch is another one.
        """
        with Journal(self._sink.journal, header_of(path, options, self._photos), resume=resume) as journal:
            before, start = journal.done, time.perf_counter()
            settings = Settings(
                streams,
                "return",
                fit,
                finish=lambda number, photo, result: self._sink.put(before + number, photo, result),
            )
            self._go_on(journal, settings)
            self._write_errors(journal.failed)
            journal.finish()
            self._sink.end(journal.records())
        self._summarize(journal, before, time.perf_counter() - start, as_json=as_json)

    def _go_on(self, journal: Journal, settings: Settings) -> None:
        """Run the model on what is not done yet."""
        rest = self._photos[journal.done :]
        with (
            BatchProgress(len(rest)) as progress,
            closing(run_items(self._model, _Photos(rest), settings)) as results,
        ):
            for photo, result in zip(rest, results, strict=True):
                self._note(journal, photo, result)
                progress.advance()

    def _note(self, journal: Journal, photo: Photo, result: str | Exception) -> None:
        if isinstance(result, str):
            journal.add_text(result)
        else:
            # A model that breaks a rule of the format does so for every photo.
            if isinstance(result, CannotWriteError) or (isinstance(result, FormatError) and journal.done == 0):
                raise result
            record = {"input": photo.name, "error": message(result)}
            journal.add(record)
            journal.failed.append(record)
        journal.done += 1

    def _write_errors(self, failed: Sequence[Mapping[str, Any]]) -> None:
        """Write the file with the photos that failed, or remove that of an earlier batch."""
        if not failed:
            self._sink.errors.unlink(missing_ok=True)
            return
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in failed)
        write_file(self._sink.errors, lines.encode("utf-8", "surrogateescape"))

    def _summarize(self, journal: Journal, before: int, seconds: float, *, as_json: bool) -> None:
        """Print the summary.

        Raises:
            WindfallError: Some photos failed.
        """
        count, failed = len(self._photos), journal.failed
        done, rate = count - before, (count - before) / seconds if count > before else 0.0
        if as_json:
            errors = str(self._sink.errors) if failed else None
            summary = {"photos": count, "failed": len(failed), "done_before": before, "seconds": round(seconds, 3),
                       "photos_per_second": round(rate, 3), "output": str(self._output), "errors": errors}  # fmt: skip
            click.echo(json.dumps(summary, ensure_ascii=False))
        else:
            earlier = f", {before} were done before" if before else ""
            click.echo(f"{done} photos in {seconds:.1f} s, {rate:.1f} in a second{earlier}")
            click.echo(f"written to {safe(self._output)}")
        for record in failed[:_MOST_LISTED]:
            text = record["error"]
            named = text if record["input"] in text else f"{record['input']}: {text}"
            print_error(WindfallError(named))
        if failed:
            raise WindfallError(f"{len(failed)} of {count} photos could not be used; {self._sink.errors} lists them")


class _Photos:
    """An iterable that is no list: its results come one after another."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self._photos = photos

    def __iter__(self) -> Iterator[Photo]:
        return iter(self._photos)

    def __length_hint__(self) -> int:
        return len(self._photos)
