"""Exports Clari Copilot every night, and hands on which partitions changed.

The workers' environment holds CLARI_LAKE (a folder or a store's URL) and the credentials, as
CLARI_API_KEY and CLARI_API_PASSWORD or as the names of files that hold them; no secret gets into
Airflow's database.
"""

import json
import subprocess
from datetime import datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException


@dag(
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=15)},
    tags=["clari"],
)
def clari_lake():
    @task(execution_timeout=timedelta(hours=4))
    def export() -> None:
        """Runs the export."""
        run = subprocess.run(["clari-lake", "export", "--max-time", "3h"], check=False)
        if run.returncode == 2:
            raise AirflowFailException("something must be fixed first; the log above says what")
        if run.returncode != 0:
            raise AirflowException("incomplete but safe; the next try goes on from there")

    @task
    def changes(prev_start_date_success=None) -> list[dict]:
        """Returns the partitions that changed since the last run of this DAG that succeeded began.

        Every export counts, also one that was incomplete and was tried again: what it brought is
        in no later report.
        """
        since = prev_start_date_success
        run = subprocess.run(
            ["clari-lake", "changes", "--json", "--since", since.isoformat() if since else "2d"],
            stdout=subprocess.PIPE,
            check=True,
        )
        return json.loads(run.stdout)["changed"]

    @task
    def announce(changed: list[dict]) -> int:
        """In the place of what is downstream, which need only read what changed."""
        for partition in changed:
            print(f"{partition['endpoint']}/dt={partition['dt']}")
        return len(changed)

    changed = changes()
    export() >> changed
    announce(changed)


clari_lake()
