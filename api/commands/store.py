"""`offerwright db` and `offerwright user`: the store and who may use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from api.commands.options import as_json, current_time, example, open_settled_store, operator, print_json, with_settings

if TYPE_CHECKING:
    from engine.settings import Settings

ROLES = ("viewer", "analyst", "approver", "admin")
_role = click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What they may do.")


@click.group()
def db() -> None:
    """Look after the operational store."""


@db.command(
    epilog=example(
        "offerwright db upgrade",
        "offerwright db upgrade --set store.url=postgresql+psycopg://offerwright@db/offerwright",
    )
)
@as_json
@with_settings
def upgrade(settings: Settings, as_json: bool) -> None:
    """Bring the store's schema up to date, in one transaction. Make a backup first."""
    from engine.store import upgrade_store

    before, after = upgrade_store(settings.store_url)
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        click.echo(f"the store is up to date (schema {after})")
    else:
        click.echo(f"upgraded the store from schema {before or 'none'} to {after}")


@db.command(epilog=example("offerwright db verify"))
@as_json
@with_settings
def verify(settings: Settings, as_json: bool) -> None:
    """Walk the whole audit chain and compare every proposal with what was saved; exit status 1 if anything differs.

    Keep the printed hash elsewhere: it proves later that nothing was cut off the end.
    """
    with open_settled_store(settings) as store:
        check = store.check_audit()
    if as_json:
        print_json(check)
    else:
        for fault in check.faults:
            click.echo(fault, err=True)
        verdict = f"{len(check.faults)} FAULT(S)" if check.faults else "intact"
        click.echo(f"audit: {check.events:,} events, {verdict}, last hash {check.head_sha256}")
    if check.faults:
        raise click.exceptions.Exit(1)


@click.group()
def user() -> None:
    """Let people and programs in."""


@user.command(epilog=example("offerwright user add mei --role approver"))
@click.argument("name")
@_role
@as_json
@with_settings
def add(settings: Settings, name: str, role: str, as_json: bool) -> None:
    """Add a user and print a one-time link, good for a day, through which they choose their password."""
    from engine.store import Role

    with open_settled_store(settings) as store:
        token = store.accounts.add_user(name, Role(role), by=operator(), now=current_time())
    link = f"http://{settings.server.host}:{settings.server.port}/set-up/{token}"
    if as_json:
        print_json({"name": name, "role": role, "link": link})
    else:
        click.echo(f"added {name} ({role}); they choose a password at\n  {link}")


@user.command(
    epilog=example(
        "offerwright user token nightly-export --role viewer --days 90",
        "offerwright user token nightly-export --revoke",
    )
)
@click.argument("name")
@_role
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="How long it works [default: until revoked].")
@click.option("--revoke", is_flag=True, help="End the token of this name instead of making one.")
@as_json
@with_settings
def token(settings: Settings, name: str, role: str, days: float | None, revoke: bool, as_json: bool) -> None:
    """Make (or revoke) a bearer token for a program that uses the JSON API; it is shown this once."""
    from engine.store import Role

    with open_settled_store(settings) as store:
        if revoke:
            store.accounts.revoke_token(name, by=operator(), now=current_time())
            click.echo(f"token {name} no longer works")
            return
        made = store.accounts.add_token(name, Role(role), by=operator(), now=current_time(), days=days)
    if as_json:
        print_json({"name": name, "role": role, "token": made})
    else:
        click.echo(made)
