"""The pages: sign-in, the list of proposals, one proposal with its lines, evidence and life."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, get_args

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from werkzeug.wrappers import Response as AnyResponse

from api.access import asker, current_account, current_time, local_path, needs, needs_role, the_settings, the_store
from api.answer import doubts, gain_sources, leading_product, to_do
from api.drawings import draw_experiments, draw_proposal
from api.experiment_forms import form_values
from api.language import LANGUAGES
from api.report import UNJUDGED, compared_models
from api.words import COOKIE, tell, word
from engine.errors import ConflictError, InputError, StateError
from engine.proposal import TRANSITIONS, Reason, State
from engine.store import Account, Order, ProposalHeader, Role, Shown

if TYPE_CHECKING:
    from api.week_page import WeekView

pages = Blueprint("pages", __name__)
_LINES_ON_A_PAGE = 25
_MOST_LINES = 5000
"""Lines that plots are drawn from; of a larger proposal nothing is said that speaks of all of them."""
_YEAR_SECONDS = 365 * 24 * 3600
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"

ACTIONS: dict[str, tuple[State, Role]] = {
    "submit": (State.SUBMITTED, Role.ANALYST),
    "approve": (State.APPROVED, Role.APPROVER),
    "request-changes": (State.CHANGES_REQUESTED, Role.APPROVER),
    "reject": (State.REJECTED, Role.APPROVER),
    "rework": (State.DRAFT, Role.ANALYST),
}


@pages.app_context_processor
def _account() -> dict[str, Any]:
    """Let the page's head show who is signed in."""
    return {"account": current_account() if "language" in g else None}


@pages.get("/")
def start() -> AnyResponse:
    """Go to the proposals."""
    return redirect(url_for("pages.proposals"))


@pages.get("/language/<language>")
def choose_language(language: str) -> AnyResponse:
    """Remember the language and go back."""
    if language not in LANGUAGES:
        known = {"language": language, "known": ", ".join(LANGUAGES)}
        abort(HTTPStatus.NOT_FOUND, tell(Reason("No language {language!r}; there are {known}.", known)))
    answer = redirect(local_path(request.args.get("next")) or url_for("pages.proposals"))
    answer.set_cookie(COOKIE, language, max_age=_YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure)
    return answer


@pages.get("/sign-in")
def sign_in() -> str | AnyResponse:
    """Show the form."""
    if current_account() is not None:
        return redirect(url_for("pages.proposals"))
    return render_template("pages/sign_in.html", name="", first=not the_store().accounts.any_user())


@pages.post("/sign-in")
def check_sign_in() -> str | AnyResponse | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Check name and password; after too many failures nobody is checked for a while."""
    accounts, now = the_store().accounts, current_time()
    name, password = request.form.get("name", ""), request.form.get("password", "")
    address, key = request.remote_addr or "", bytes(current_app.config["SECRET_KEY"])
    wait = accounts.wait_before_sign_in(name, address, key=key, now=now)
    if wait is not None:
        seconds = max(1, int(wait.total_seconds()))
        page = _refused(name, word("Too many failed attempts. Wait a few minutes, then try again."))
        return page, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(seconds)}
    token = accounts.sign_in(name, password, now=now, hours=the_settings().server.session_hours)
    if token is None:
        accounts.record_failure(name, address, key=key, now=now)
        return _refused(name, word("Name or password is wrong.")), HTTPStatus.UNAUTHORIZED
    _open_session(token)
    return redirect(local_path(request.args.get("next")) or url_for("pages.proposals"))


def _refused(name: str, why: str) -> str:
    return render_template("pages/sign_in.html", name=name, problem=why, first=False)


def _open_session(token: str) -> None:
    session.clear()
    session["token"] = token
    session.permanent = True


@pages.post("/sign-out")
def sign_out() -> AnyResponse:
    """End the session."""
    token = session.pop("token", None)
    if token:
        the_store().accounts.sign_out(token)
    session.clear()
    return redirect(url_for("pages.sign_in"))


@pages.get("/set-up/<token>")
def set_up(token: str) -> str:
    """Show what the link is for."""
    link = the_store().accounts.look_up_link(token, now=current_time())
    return render_template("pages/set_up.html", name="", link=link)


@pages.post("/set-up/<token>")
def use_set_up(token: str) -> str | AnyResponse | tuple[str, int]:
    """Choose a name and password through a one-time link, and be signed in."""
    accounts, now = the_store().accounts, current_time()
    name, password = request.form.get("name", ""), request.form.get("password", "")
    try:
        account = accounts.use_link(token, name=name, password=password, now=now)
    except InputError as error:
        link = accounts.look_up_link(token, now=now)
        page = render_template("pages/set_up.html", name=name, link=link, problem=tell(error.sentence))
        return page, HTTPStatus.UNPROCESSABLE_ENTITY
    signed_in = accounts.sign_in(account.name, password, now=now, hours=the_settings().server.session_hours)
    if signed_in is None:
        raise ConflictError(Reason("the user was changed meanwhile; sign in again"))
    _open_session(signed_in)
    return redirect(url_for("pages.proposals"))


@pages.get("/proposals")
@needs(Role.VIEWER)
def proposals() -> str:
    """List the proposals, newest first."""
    state = request.args.get("state", "")
    chosen = State(state) if state in set(State) else None
    page = the_store().proposals(page=page_number(), size=20, state=chosen)
    return render_template("pages/proposals.html", page=page, state=chosen, states=list(State))


@pages.get("/proposals/<proposal_id>")
@needs(Role.VIEWER)
def proposal(proposal_id: str) -> str:
    """Show one proposal: promise, prices, coupons, evidence, life."""
    store = the_store()
    header = store.header(proposal_id)
    query = _line_query()
    evidence = store.evidence(proposal_id)
    drawn = store.price_lines(proposal_id, size=_MOST_LINES)
    everything, whole = drawn.items, drawn.pages <= 1
    return render_template(
        "pages/proposal.html",
        proposal=header,
        summary=header.summary,
        evidence=evidence,
        to_do=to_do(everything, header.summary) if whole else None,
        sources=gain_sources(header.summary),
        doubts=doubts(evidence, leading_product(everything) if whole else None),
        drawings=draw_proposal(header, everything, store),
        unjudged=UNJUDGED,
        compared=compared_models(evidence.get("prices") or {}),
        weeks=_weeks(evidence),
        may_replan=asker().role.covers(Role.ANALYST) and (evidence.get("weeks") or {}).get("weeks", 0) > 1,
        query=query,
        lines=store.price_lines(proposal_id, **query, page=page_number(), size=_LINES_ON_A_PAGE),
        coupons=store.coupon_lines(proposal_id, page=page_number("coupon_page"), size=20),
        events=store.audit(proposal_id),
        experiments=draw_experiments(proposal_id, store),
        testable=_testable(header, asker()),
        defaults=form_values(None),
        actions=_possible_actions(header, asker()),
        orders=get_args(Order),
    )


@pages.get("/proposals/<proposal_id>/report")
@needs(Role.VIEWER)
def report(proposal_id: str) -> Response:
    """Show the full report, the page that `offerwright run` writes."""
    from api.report import render_report
    from api.week_page import read_week_plan, week_page

    whole = the_store().proposal(proposal_id)
    weeks = whole.evidence.get("weeks")
    if weeks:
        page = week_page(read_week_plan(weeks), whole.evidence["notes"], language=g.language)
    else:
        page = render_report(whole, language=g.language)
    answer = Response(page, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = _REPORT_POLICY
    if "download" in request.args:
        answer.headers["Content-Disposition"] = f'attachment; filename="{proposal_id}.html"'
    return answer


@pages.get("/proposals/<proposal_id>/weeks.csv")
@needs(Role.VIEWER)
def export_weeks(proposal_id: str) -> Response:
    """Give the plan over weeks as CSV, in the form that its command writes."""
    from api.week_page import read_week_plan, week_table
    from api.week_plans import NO_WEEKS

    weeks = the_store().evidence(proposal_id).get("weeks")
    if not weeks:
        abort(HTTPStatus.NOT_FOUND, tell(Reason(NO_WEEKS, {"proposal": proposal_id})))
    answer = Response(week_table(read_week_plan(weeks)), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{proposal_id}-weeks.csv"'
    return answer


@pages.get("/proposals/<proposal_id>/<any(prices, coupons):table>.csv")
@needs(Role.VIEWER)
def export(proposal_id: str, table: str) -> Response:
    """Give all lines as CSV, in the form that `offerwright run` writes."""
    from api.outputs import coupon_table, price_table

    whole = the_store().proposal(proposal_id)
    text = price_table(whole) if table == "prices" else coupon_table(whole)
    answer = Response(text, content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{proposal_id}-{table}.csv"'
    return answer


@pages.post("/proposals/<proposal_id>/<any(submit, approve, 'request-changes', reject, rework):action>")
@needs(Role.ANALYST)
def change_state(proposal_id: str, action: str) -> AnyResponse:
    """Move a proposal along its life."""
    to, role = ACTIONS[action]
    account = asker()
    if not account.role.covers(role):
        abort(HTTPStatus.FORBIDDEN, tell(needs_role(role, account.role)))
    try:
        why = request.form.get("why", "")
        the_store().change_state(proposal_id, to, by=account.name, why=why, now=current_time())
    except (InputError, StateError, ConflictError) as error:
        flash(tell(error.sentence))
    return redirect(url_for("pages.proposal", proposal_id=proposal_id))


def _possible_actions(header: ProposalHeader, account: Account) -> list[str]:
    """Name the buttons that would work for this person now."""
    return [
        action
        for action, (to, role) in ACTIONS.items()
        if to in TRANSITIONS[header.state]
        and account.role.covers(role)
        and not (to is State.APPROVED and account.name == header.submitted_by)
    ]


def _testable(header: ProposalHeader, account: Account) -> list[str]:
    """Name the parts of which this person may design an experiment: those that change something."""
    price, coupons = header.summary.get("price") or {}, header.summary.get("coupons") or {}
    changes = {"prices": price.get("changed"), "coupons": coupons.get("sent")}
    return [part for part, count in changes.items() if count and account.role.covers(Role.ANALYST)]


def _weeks(evidence: Mapping[str, Any]) -> WeekView | None:
    """Draw a plan over weeks; None where the proposal is none."""
    from api.week_page import read_week_plan, view_weeks

    return view_weeks(read_week_plan(evidence["weeks"]), word) if evidence.get("weeks") else None


def _line_query() -> dict[str, Any]:
    order, shown = request.args.get("order", "gain"), request.args.get("shown", "changed")
    return {
        "order": order if order in get_args(Order) else "gain",
        "descending": request.args.get("descending", "1") == "1",
        "contains": request.args.get("contains", "")[:200],
        "shown": shown if shown in get_args(Shown) else "changed",
    }


def page_number(name: str = "page") -> int:
    """Read which page of a list is asked for; 1 where that is no number."""
    text = request.args.get(name, "1")
    return min(max(int(text), 1), 10**6) if text.isascii() and text.isdigit() else 1
