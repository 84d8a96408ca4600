"""Renders a run: the report notebook by papermill, HTML by nbconvert in this process, Markdown, JUnit and JSON beside
it."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perflib.errors import ReportError, SuiteError
from perflib.report import junit, markdown, notebooks
from perflib.report import parameters as notebook_parameters
from perflib.report.index import rebuild
from perflib.store.files import write_atomically
from perflib.store.recording import Recording
from perflib.suite.redaction import without_known
from perflib.text.html import NOTEBOOK_STYLE
from perflib.verdicts.figures import has_figures_alone
from perflib.verdicts.run import Run

if TYPE_CHECKING:
    from perflib.report.kernel import Kernel

REPORTS: Final = Path("reports")
TEMPLATES: Final = Path(__file__).parent / "templates"


def report(
    run: Run,
    *,
    baseline: Recording | Sequence[Recording] = (),
    out: Path | None = None,
    title: str | None = None,
    notebook: str | Path = "report",
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Write report.html, report.md, junit.xml and summary.json; the folder they are in. Raises ReportError, SuiteError.

    Without `out` the folder is reports/<run id>, and reports/latest comes to point to it.

    notebook: a file of your own instead of the package's, which takes `run`, and `baseline` and `title` when they are
    asked for parameters: what it takes besides
    """
    if has_figures_alone(run):
        mend = "perflib show prints them, perflib compare sets them beside a run's"
        raise ReportError("it has figures alone, without requests to report", where=run.id, mend=mend)
    folder = out or REPORTS / run.id
    folder.mkdir(parents=True, exist_ok=True)
    sides = [baseline] if isinstance(baseline, Recording) else baseline
    beside = ",".join(str(each.path.resolve()) for each in sides) or None
    asked = notebook_parameters.asked_for(baseline=beside, title=title)
    given = {"run": str(run.path.resolve()), **asked, **(parameters or {})}
    with ThreadPoolExecutor(1) as thread:  # its figures are computed here while the notebook's kernel starts
        figures = thread.submit(run.summary)
        executed = execute(notebook, given, folder / "report.ipynb", of=[run])
    write_atomically(folder / "report.html", html(executed, title or f"Performance of {run.suite.name}"))
    write_atomically(folder / "report.md", markdown.of_run(run, title))
    write_atomically(folder / "junit.xml", junit.of_run(run))
    write_atomically(folder / "summary.json", json.dumps(figures.result(), indent=1, allow_nan=False))
    if out is None:
        _point_latest_to(folder)
    list_in(folder)
    return folder


def list_in(folder: Path) -> None:
    """Rebuild reports/index.html, where that is where this folder is."""
    if folder.resolve().parent == REPORTS.resolve():
        rebuild(REPORTS)


def page(
    notebook: str | Path, run: Run, *, parameters: Mapping[str, Any] | None = None, out: Path | None = None
) -> Path:
    """Another notebook on a run, as <name>.html in its folder of reports; the file. Raises ReportError, SuiteError."""
    source = notebooks.find(notebook)
    folder = out or REPORTS / run.id
    folder.mkdir(parents=True, exist_ok=True)
    given = {"run": run.reference, **(parameters or {})}
    executed = execute(source, given, folder / f"{source.stem}.ipynb", of=[run])
    write_atomically(folder / f"{source.stem}.html", html(executed, f"{source.stem}: {run.id}"))
    return folder / f"{source.stem}.html"


def execute(
    notebook: str | Path,
    parameters: Mapping[str, Any],
    output: Path,
    *,
    of: Sequence[Recording] = (),
    kernel: Kernel | None = None,
) -> Any:
    """A notebook (a name or a file) with these parameters, executed by papermill, in a kernel that may have been
    started before.

    Raises SuiteError for a parameter that it does not take, ReportError for a cell that fails.

    The executed copy says in its metadata which runs it is `of`, and what their rows are.
    """
    from perflib.report.kernel import Kernel

    with warnings.catch_warnings(), ThreadPoolExecutor(1) as beside, kernel or Kernel() as started:
        warnings.simplefilter("ignore")
        nbformat = notebooks.nbformat_module()
        source = notebooks.find(notebook)
        notebook_parameters.check(source, parameters)
        if output.resolve() == source.resolve():
            raise SuiteError("its executed copy would overwrite it", where=str(source), mend="choose another folder")
        digests = [beside.submit(run.rows_sha256) for run in of]
        done = _papermill(source, parameters, output, started)
    done.metadata["perflib"] = {
        "runs": [{"run": run.id, "rows_sha256": digest.result()} for run, digest in zip(of, digests, strict=True)]
    }
    done = nbformat.reads(without_known(nbformat.writes(done)), 4)  # its parameters may be secrets
    write_atomically(output, nbformat.writes(done))
    return done


def _papermill(source: Path, parameters: Mapping[str, Any], output: Path, kernel: Kernel) -> Any:
    """The notebook that papermill executed. Raises ReportError."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    for logger in ("papermill", "blib2to3", "traitlets"):
        logging.getLogger(logger).setLevel(logging.CRITICAL if logger == "traitlets" else logging.ERROR)
    # papermill fills {names} in both paths: a brace that belongs to a folder's name is written twice
    paths = [str(path).replace("{", "{{").replace("}", "}}") for path in (source, output)]
    try:
        return papermill.execute_notebook(
            *paths,
            parameters=dict(parameters),
            kernel_name="python3",
            language="python",
            progress_bar={"desc": "rendering", "leave": False, "disable": not sys.stderr.isatty(), "file": sys.stderr},
            log_output=False,
            cwd=str(Path.cwd()),
            km=kernel,
        )
    except papermill.PapermillExecutionError as error:
        write_atomically(output, without_known(output.read_text("utf-8")))
        where, what = f"notebook {source.stem}, cell {error.exec_count}", f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        where, what = f"notebook {source.stem}", "its kernel ended"
    except RuntimeError as error:  # it never answered
        where, what = f"notebook {source.stem}", f"its kernel did not start: {error}"
    raise ReportError(what, where=where, mend=f"open {output} to see it")


def html(notebook: Any, title: str) -> str:
    """The executed notebook as one HTML file that needs no other, code left out, and cells tagged `aside` too."""
    from nbconvert.exporters import HTMLExporter
    from traitlets.config import Config

    exporter: Any = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="perflib", extra_template_basedirs=[str(TEMPLATES)], config=Config(
            TagRemovePreprocessor={"enabled": True, "remove_cell_tags": ["aside"]}
        ),
    )  # fmt: skip
    resources = {"perflib_title": title, **(_script() if _has_points(notebook) else {})}
    text, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(text).replace(NOTEBOOK_STYLE, "")


def _has_points(notebook: Any) -> bool:
    """Whether any chart of an executed notebook has data from which a page can draw it."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return any('data-points="' in "".join(output.get("data", {}).get("text/html", "")) for output in outputs)


def _script() -> dict[str, str]:
    """The script that draws charts, and the hash by which a page's policy lets it run, and no other."""
    script = (TEMPLATES / "perflib" / "charts.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": script, "script_hash": f"sha256-{digest}"}


def _point_latest_to(folder: Path) -> None:
    latest = folder.parent / "latest"
    unfinished = folder.parent / ".latest.tmp"
    unfinished.unlink(missing_ok=True)
    try:
        unfinished.symlink_to(folder.name, target_is_directory=True)
        unfinished.replace(latest)
    except OSError:
        pass  # no symbolic links on this file system: the report is there all the same
