"""`pcsargmax tables`: the paper's tables, made of the results that `benchmark` keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pcsargmax.commands.shared.errors import check_there, friendly_errors


def command(
    results: Annotated[
        list[Path], typer.Argument(help="Result files, or folders of them.", metavar="RESULTS...", show_default=False)
    ],
    table: Annotated[
        str, typer.Option(help="pck, das, samples, confidence, images, or all that there are results of.")
    ] = "all",
    data: Annotated[str, typer.Option(help="What to show, such as mug,chair; all results if not given.")] = "",
    methods: Annotated[str, typer.Option(help="What to show, such as soft,sampling-10; all if not given.")] = "",
    estimate: Annotated[str, typer.Option(help="Of detectors: expectation, snapped or mode.")] = "expectation",
    threshold: Annotated[
        float | None, typer.Option(help="Of the error, in the results' unit; 0.01, of confidence 0.02, if not given.")
    ] = None,
    distance: Annotated[
        str,
        typer.Option(
            help="Of PCK: euclidean, geodesic (of snapped or mode), or symmetric; if not given, euclidean, and "
            "symmetric too of what was trained up to a symmetry."
        ),
    ] = "",
    against: Annotated[
        str, typer.Option(help="Method that the others are tested against on the same shapes, such as soft.")
    ] = "",
    form: Annotated[str, typer.Option("--format", help="text, csv, json, latex or markdown.")] = "text",
    out: Annotated[Path | None, typer.Option(help="File to write; printed if not given.")] = None,
    bootstrap: Annotated[int, typer.Option(help="Resamples of the shapes.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
) -> None:
    """Make the paper's tables of kept results, with its numbers in the row below; nothing is run again.

    Ours are mean ± standard deviation over seeds, with the 95 % interval over shapes.

    Results whose settings differ get tables of their own. What there is no result of stays empty. Detectors trained by
    `--symmetry` get two for one, as their titles say: of plain errors, and of errors up to symmetry.

    Examples:

        pcsargmax tables benchmarks/results

        pcsargmax tables benchmarks/results --table pck --data mug --against soft --format markdown
    """
    with friendly_errors():
        check_there(results)
        from pcsargmax.benchmark.formats import FORMATS, as_text
        from pcsargmax.benchmark.groups import open_results
        from pcsargmax.benchmark.tables import make_tables

        if form not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {form!r}")
        folders = {(path if path.is_dir() else path.parent).resolve() for path in results}
        if out is not None and out.suffix == ".json" and out.parent.resolve() in folders:
            raise ValueError(f"out must not be a .json file among the results, got {out}")
        made = make_tables(
            open_results(results),
            table,
            data=_names(data),
            methods=_names(methods),
            estimate=estimate,
            threshold=threshold,
            distance=distance,
            against=against,
            num_bootstrap=bootstrap,
            seed=seed,
        )
        if out is None:
            from rich.console import Console

            text = as_text(made, Console().width) if form == "text" else FORMATS[form](made)
            typer.echo(text, nl=not text.endswith("\n"))
        else:
            from pcsargmax.io.atomic import atomic_path

            with atomic_path(out) as temporary:
                temporary.write_text(FORMATS[form](made), encoding="utf-8")
            typer.echo(out)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
