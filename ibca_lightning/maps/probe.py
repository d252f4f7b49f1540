"""`ibca probe`: k-NN, ridge and logistic regression on stored maps, as runs that `ibca compare` reads."""

from argparse import Namespace
from pathlib import Path

from ibca_lightning.run.command_line.at_once import refuse_at_once
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, require_folder
from ibca_lightning.system.output import bounds, write_err, write_out


def probe(arguments: list[str]) -> int:
    """Write a run folder for each probe, and print a line for each; the options stand behind `ibca probe`."""
    options, rest = _parse(arguments)
    refuse_at_once("probe", rest)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    import yaml

    from ibca_lightning.datasets.frozen_maps import FrozenMaps
    from ibca_lightning.maps.probing import probed
    from ibca_lightning.run.experiment_data import experiment
    from ibca_lightning.run.result_files import write_tests
    from ibca_lightning.run.run_settings import read_settings
    from ibca_lightning.system.terminal.table import terminal_table
    from ibca_lightning.system.whole_files import write_json, write_text

    data, name, settings = experiment(rest)
    if not isinstance(data, FrozenMaps):
        fix = "write them with ibca maps --config FILE --output MAPS, and give --data FrozenMaps --data.root MAPS"
        raise InputError("stored maps for ibca probe", f"pictures of {type(data).__name__}", fix)
    output = Path(options.output or Path("runs", name, "probe"))
    for folder in output.glob("*"):
        if (folder / "config.yaml").is_file() and "probe" not in read_settings(folder):
            raise InputError(f"--output {output} for probes alone", f"a run at {folder}", "give another one")
    for said in data.instruments():
        write_err(f"{said}\n")
    rows: list[list[str]] = []
    for own in probed(data):
        folder = output / own.name
        folder.mkdir(parents=True, exist_ok=True)
        kept = {key: settings[key] for key in ("data", "hash_names") if settings.get(key)}
        write_text(folder / "config.yaml", yaml.safe_dump({"probe": own.name, **kept}, sort_keys=False))
        write_json(folder / "probe.json", {"setting": own.setting, "val_mAP": own.score})
        write_tests(folder, own.evaluations)
        rows = rows or [["probe", "chosen", "val mAP", *(f"{each.name} mAP [95 %]" for each in own.evaluations)]]
        cells = [_text(each.figures["metrics"]["mAP"], each.figures["intervals"]["mAP"]) for each in own.evaluations]
        rows.append([own.name, own.setting, _text(own.score), *cells])
    write_out(terminal_table(rows, "test_metrics.json"))
    write_out(f"wrote {output}; beside heads: ibca compare {output} RUN ...\n")
    return 0


def _text(value: float | None, ends: list[float] | None = None) -> str:
    return "-" if value is None else f"{value:.4f}{bounds(ends)}"


def _parse(arguments: list[str]) -> tuple[Namespace, list[str]]:
    parser = OptionParser(
        "ibca probe",
        "options of `ibca probe`",
        "The baseline of a minute: k nearest neighbours, ridge and logistic regression of the mean of stored maps, "
        "settings chosen on validation. Every other option is one of `ibca test` and describes the data: --config FILE "
        "of an experiment on stored maps, --data.root MAPS, --data.fold 0, ...",
    )
    parser.allow_abbrev = False  # what is not ours is the parser's of `ibca test`
    parser.add_argument("--output", help="Folder for a run folder of each probe; default runs/<experiment>/probe.")
    options, rest = parser.parse_known_args(arguments)
    if options.output is not None:
        require_folder(options.output)
    return options, rest
