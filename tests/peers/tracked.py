"""Prints what is at MLflow or Trackio on this machine: [[run, config, {metric: [[step, value], ...]}], ...]."""

import json
import sys

tracker, place = sys.argv[1:]
found = []
if tracker == "mlflow":
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=place)
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
            values = {name: [[one.step, one.value] for one in entries] for name, entries in history.items()}
            found.append([experiment.name, run.data.params, values, run.info.status, run.data.tags])
else:
    from trackio.sqlite_storage import SQLiteStorage

    for run in SQLiteStorage.get_runs(place):
        values = {}
        for row in SQLiteStorage.get_logs(place, run):
            for name, value in row.items():
                if "/" in name:
                    values.setdefault(name, []).append([row["step"], value])
        found.append([run, SQLiteStorage.get_run_config(place, run), values])
print(json.dumps(found))
