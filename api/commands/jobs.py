"""`offerwright jobs`: what runs on a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from api.commands.options import as_json, current_time, example, open_settled_store, print_json, with_settings

if TYPE_CHECKING:
    from engine.settings import Settings


@click.group()
def jobs() -> None:
    """See and run the scheduled jobs."""


@jobs.command("list", epilog=example("offerwright jobs list"))
@as_json
@with_settings
def list_jobs(settings: Settings, as_json: bool) -> None:
    """List the jobs with their schedule (cron, UTC) and their last run."""
    from api.jobs import JOBS

    rows: list[dict[str, Any]] = []
    with open_settled_store(settings) as store:
        for job in JOBS.values():
            last = store.jobs.recent(job.name, limit=1)
            schedule = job.schedule(settings)
            rows.append({"job": job.name, "does": job.does, "schedule": schedule, "last": last[0] if last else None})
    if as_json:
        print_json(rows)
        return
    for row in rows:
        last_run = row["last"]
        told = f"{last_run.state}, slot {last_run.slot}" if last_run else "never run"
        click.echo(f"{row['job']:<14} {row['schedule'] or 'never':<16} {row['does']}; last: {told}")


@jobs.command("run", epilog=example("offerwright jobs run reoptimise", "offerwright jobs run reoptimise --again"))
@click.argument("name")
@click.option("--slot", help="Slot of the schedule to work on [default: the latest one].")
@click.option("--again", is_flag=True, help="Run now, even if the latest slot is done.")
@as_json
@with_settings
def run(settings: Settings, name: str, slot: str | None, again: bool, as_json: bool) -> None:
    """Run a job for the latest slot of its schedule, unless it is done or somebody else is at it.

    So cron may start it on several machines, beside a server that has the same schedule.
    """
    from api.jobs import current_slot, find_job, run_job, runner_name
    from api.schedule import slot_name

    job = find_job(name)
    now = current_time()
    chosen = slot or (f"again-{slot_name(now)}" if again else current_slot(job, settings, now))
    with open_settled_store(settings) as store:
        done = run_job(job, settings, store, slot=chosen, holder=runner_name())
        last = next((run for run in store.jobs.recent(job.name, limit=50) if run.slot == chosen), None)
    if as_json:
        print_json({"job": name, "slot": chosen, "ran": done is not None, "run": last})
    elif done is None:
        click.echo(f"{name}, slot {chosen}: nothing to do ({last.state if last else 'another runner is at work'})")
    else:
        click.echo(f"{name}, slot {chosen}: done, proposal {last.result.get('proposal_id') if last else ''}")
