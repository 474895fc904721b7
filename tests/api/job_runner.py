"""Runs one slot of a job in a process of its own: what test_jobs.py races and kills.

Arguments: store URL, folder for marks, slot, seconds of work, whether to stop for ever after the result is stored.
"""

import sys
import time
from pathlib import Path

from store_examples import make_proposal

from api.jobs import Job, run_job, runner_name
from engine.settings import Settings
from engine.store import open_store

url, folder, slot, seconds, hang = sys.argv[1:]
base = Settings()
settings = base.model_copy(update={"jobs": base.jobs.model_copy(update={"lease_seconds": 1})})
name = runner_name()

with open_store(url) as store:

    def work(_settings, run, _now):
        (Path(folder) / f"at work {name.replace('/', '_')}").touch()
        time.sleep(float(seconds))
        store.save_proposal(make_proposal(f"P-{run.attempt}", created_by=run.key))
        (Path(folder) / "stored").touch()
        if hang == "hang":
            time.sleep(600)

    run = run_job(Job("test", "tests", "jobs.reoptimise", work), settings, store, slot=slot, holder=name)
    print("ran" if run else "nothing to do")
