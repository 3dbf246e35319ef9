"""What the suite trains can be used by whoever gets the checkpoint, without a config file that would be run."""

from experiments.spec.plan import make_plan
from experiments.spec.table_file import load_table, table_names
from o2f.inference import without_init
from o2f.io.safe_config import check_names, parse_config


def test_every_detector_of_the_tables_is_built_from_its_checkpoint():
    runs = {}
    for profile in ('desk', 'paper'):
        for name in table_names():
            table = load_table(name)
            runs.update(make_plan(table, table.cells, profile, [0], {}).runs())
    assert len(runs) > 100
    for run in runs.values():
        settings = parse_config(run.config_text, run.id)
        check_names(without_init(settings['model']), run.id)
        check_names(settings['test_dataloader']['dataset']['pipeline'], run.id)
