"""What config.yaml says of coupons holds in the plan: limits, an honest log of what was drawn, parity, refusals."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from store_examples import NOW

from api import coupon_stage
from api.coupon_limits import held_offers
from api.coupon_stage import CouponResult, propose_coupons
from api.cycle import assemble, run_cycle
from api.outputs import coupon_table
from api.report import render_report
from engine.coupon_response import CouponResponse, PolicyValue
from engine.coupon_response.record import Agreement, Overlap, Placebo
from engine.errors import ConfigurationError, InfeasibleError
from engine.progress import Silent, Stopwatch
from engine.settings import Settings, load_settings
from engine.shop import Shop
from engine.store import open_store
from experiments.off_policy import LoggedFeedback

CUSTOMERS = 3000
OFFERS = ("", "A", "B", "C")


def response(
    *, credible: bool = True, offer_credible: tuple[bool, ...] = (True,) * 4, profit_se: float = 0.1
) -> CouponResponse:
    rng = np.random.default_rng(5)
    profit = rng.normal(0.1, 0.5, (CUSTOMERS, 4))
    cost = rng.uniform(0.1, 0.6, (CUSTOMERS, 4))
    profit[:, 0] = cost[:, 0] = 0.0
    nothing = float("nan")
    return CouponResponse(
        customer_ids=np.array([f"C{i}" for i in range(CUSTOMERS)], dtype=object),
        offer_ids=OFFERS,
        profit=np.where(offer_credible, profit, 0.0),
        profit_se=np.full_like(profit, profit_se),
        cost=cost,
        credible=credible,
        verdict=(),
        overlap=Overlap(0, nothing, nothing, nothing),
        placebo=Placebo("", nothing, nothing, nothing, np.zeros(4)),
        face_value=np.array([0.0, 1.0, 2.0, 3.0]),
        n_randomised=0,
        method="made by hand",
        estimated_profit=profit,
        offer_credible=np.array(offer_credible),
        agreement=Agreement(nothing, nothing, nothing, nothing),
        policy=PolicyValue.of(0.0, 0.0, 0.0),
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("coupons")
    rng = np.random.default_rng(6)
    people = [f"C{i}" for i in range(CUSTOMERS)]
    waves = pd.DataFrame({"customer_id": np.tile(people, 6), "wave": np.repeat(np.arange(6), CUSTOMERS)})
    sent = (rng.random(len(waves)) < 0.3).astype(int)
    history = waves.assign(sent=sent, offer_id=np.where(sent, "A", ""), profit=1.0)
    history.to_parquet(folder / "coupon_history.parquet")
    groups = pd.DataFrame({"customer_id": people, "age": rng.choice(["young", "old"], CUSTOMERS), "visits": 1})
    groups.to_parquet(folder / "customers.parquet")
    return Shop("corner", {name: folder / f"{name}.parquet" for name in ("coupon_history", "customers")}, "f" * 64)


def settings(home: Path, *more: str) -> Settings:
    return load_settings(None, [f"data.home={home}", "log.level=error", *(f"coupons.{text}" for text in more)])


@pytest.fixture
def plan(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    asked: dict[str, Any] = {}

    def made(*more: str, held: CouponResponse | None = None) -> CouponResult:
        def estimate(*_: object, **named: Any) -> CouponResponse:
            asked.update(named)
            return response() if held is None else held

        monkeypatch.setattr(coupon_stage, "estimate_coupon_response", estimate)
        result = propose_coupons(shop, settings(tmp_path, *more), Stopwatch(Silent()))
        made.asked = asked  # type: ignore[attr-defined]
        return result

    return made


def test_every_limit_of_the_settings_is_kept(plan: Any, shop: Shop) -> None:
    result = plan("max_sent=900", "offer_caps={A: 100}", "contact_limit=2", "contact_waves=3", "budget=200")
    lines = pd.DataFrame([vars(line) for line in result.lines])
    assert 0 < len(lines) <= 900
    assert (lines["offer_id"] == "A").sum() <= 100
    assert lines["expected_cost"].sum() <= 200 + 1e-6
    history = pd.read_parquet(shop.tables["coupon_history"])
    lately = history[history["wave"] >= 4].groupby("customer_id")["sent"].sum()
    assert lately[lines["customer_id"]].max() == 1, "two waves before the plan, and the plan's own makes three"
    assert (lately >= 2).any()


def test_who_holds_one_of_a_group_is_sent_none_of_it(plan: Any, shop: Shop) -> None:
    history = pd.read_parquet(shop.tables["coupon_history"])
    holders = set(history.loc[(history["wave"] >= 4) & (history["sent"] == 1), "customer_id"])
    free = pd.DataFrame([vars(line) for line in plan("contact_waves=3").lines])
    assert free["customer_id"].isin(holders).any()
    kept = pd.DataFrame([vars(line) for line in plan("contact_waves=3", "exclusive=[[A, B]]").lines])
    theirs = kept[kept["customer_id"].isin(holders)]
    assert set(theirs["offer_id"]) == {"C"}
    assert set(kept["offer_id"]) == {"A", "B", "C"}


def test_what_was_redeemed_is_held_no_longer(plan: Any, shop: Shop, tmp_path: Path) -> None:
    rows = [
        ("C0", 0, 1, "A", 0),
        ("C1", 1, 1, "A", 0),
        ("C2", 1, 1, "B", 1),
        ("C3", 1, 0, "A", 0),
        ("C4", 1, 1, "Z", 0),
    ]
    path = tmp_path / "coupon_history.parquet"
    pd.DataFrame(rows, columns=["customer_id", "wave", "sent", "offer_id", "redeemed"]).to_parquet(path)
    held = held_offers(Shop("corner", {"coupon_history": path}, "f" * 64), response(), 2)
    assert np.argwhere(held).tolist() == [[1, 1]], "only the last wave counts, what was sent, not used, and is on offer"


def test_a_floor_is_reached_and_one_that_cannot_be_is_stored_with_the_most(
    plan: Any, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plan("min_sent=2900").plan.sent >= 2900
    # A floor of all in a budget that buys fewer: the proposal says how many it buys.
    monkeypatch.setattr("engine.sources.open_shop", lambda *_, **__: shop)
    cost = response().cost[:, 1:].min(axis=1)
    most = int((np.cumsum(np.sort(cost)) <= 150).sum())
    given = settings(tmp_path, "min_sent=2900", "budget=150")
    with pytest.raises(InfeasibleError, match=f"at most {most:,} coupons"):
        run_cycle(given, now=NOW, created_by="test", only=["coupons"])
    with open_store(given.store_url) as store:
        (kept,) = store.proposals().items
        assert kept.state == "infeasible"
        assert f"at most {most:,} coupons" in kept.summary["infeasible"]


def test_what_is_explored_is_logged_as_it_was_drawn(plan: Any, shop: Shop, tmp_path: Path) -> None:
    result = plan("explore=0.4", "budget=400", "offer_caps={B: 200}")
    given = settings(tmp_path)
    made = assemble(shop, given, None, result, {}, now=NOW, created_by="test")
    with open_store(given.store_url, upgrade=True) as store:
        store.save_proposal(made)
        back = store.proposal(made.proposal_id)
        assert back.coupons == made.coupons
        assert not store.check_audit().faults
    rows = list(csv.DictReader(io.StringIO(coupon_table(back))))
    assert list(rows[0])[:4] == ["customer_id", "offer_id", "expected_incremental_profit", "expected_cost"]
    drawn = [row for row in rows if row["explored"] == "True"]
    assert abs(len(drawn) / CUSTOMERS - 0.4) < 4 * np.sqrt(0.24 / CUSTOMERS)
    arm = np.array([OFFERS.index(row["offer_id"]) for row in drawn])
    log = LoggedFeedback(arm, np.ones(len(drawn)), np.array([float(row["propensity"]) for row in drawn]))
    # Weighted by the inverse of its chance each offer stands for the whole slice (Horvitz and Thompson 1952).
    for offer in range(4):
        weights = np.where(log.arm == offer, 1 / log.propensity, 0.0)
        assert abs(weights.sum() - len(drawn)) < 5 * weights.std() * np.sqrt(len(drawn)) + 1
    assert all(row["propensity"] == "1" for row in rows if row["explored"] == "False")
    assert back.summary["coupons"]["sent"] == sum(bool(row["offer_id"]) for row in rows)
    assert f"{len(drawn):,} customers" in result.evidence["exploration"]["sentence"].english()


def test_a_protected_attribute_decides_nothing_and_is_reported_on(plan: Any, shop: Shop, tmp_path: Path) -> None:
    result = plan("protected=age", "max_sent=500")
    assert plan.asked["excluded_attributes"] == ("age",)
    (report,) = result.evidence["parity"]
    assert [group.group for group in report.groups] == ["old", "young"]
    assert sum(group.sent for group in report.groups) == result.plan.sent
    made = assemble(shop, settings(tmp_path), None, result, {}, now=NOW, created_by="test")
    assert made.summary["coupons"]["parity_least_ratio"] == {"age": pytest.approx(report.least_ratio)}
    page = render_report(made)
    assert "How the groups of age fare" in page
    assert "young" in page


@pytest.mark.parametrize(
    ("setting", "named"),
    [("protected=[age,heigth]", "heigth"), ("offer_caps={D: 5}", "D"), ("exclusive=[[A, D]]", "D")],
    ids=["column", "cap", "group"],
)
def test_what_the_shop_does_not_hold_is_refused_by_name(plan: Any, setting: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\['{named}'\]"):
        plan(setting)


def test_effects_that_failed_their_checks_are_explored_and_promised_as_a_cost(plan: Any) -> None:
    closed = response(credible=False)
    assert plan(held=closed).lines == ()
    result = plan("explore=0.2", held=closed)
    assert result.plan.sent > 0
    assert all(line.explored for line in result.lines)
    assert result.value.mean == pytest.approx(-result.plan.spend)
    assert "drawn at random" in result.reason.english()


@pytest.mark.parametrize("profit_se", [0.1, 50.0])
def test_a_plan_that_may_as_well_lose_money_says_so(plan: Any, profit_se: float) -> None:
    result = plan(held=response(profit_se=profit_se))
    said = result.evidence["uncertain"]
    assert (said is not None) == (result.value.low <= 0)
    assert (result.value.low <= 0) == (profit_se > 1)
    if said is not None:
        assert "not told apart from nothing" in said.english()


def test_an_offer_that_failed_its_checks_is_sent_to_nobody_who_was_not_drawn(plan: Any) -> None:
    held = response(offer_credible=(True, True, False, True))
    result = plan("explore=0.2", held=held)
    sent = {(line.offer_id, line.explored) for line in result.lines}
    assert ("B", True) in sent
    assert ("B", False) not in sent


class Shared:
    """Errors of all customers together: one of each offer, the third's the largest."""

    each = np.array([0.0, 0.02, 0.05, 0.4])

    def sd(self) -> Any:
        return np.tile(self.each, (CUSTOMERS, 1))

    def loads_of(self, choice: Any) -> Any:
        return np.bincount(choice, minlength=4)[1:] * self.each[1:]

    def sd_of_sum(self, choice: Any) -> float:
        return float(np.linalg.norm(self.loads_of(choice)))

    def moves(self, direction: Any) -> Any:
        return np.tile(self.each * np.append(0.0, direction), (CUSTOMERS, 1))


@pytest.mark.parametrize("risk", ["lower", "tail", "worst"])
def test_a_plan_by_risk_gives_up_expected_profit_for_what_it_surely_brings(
    plan: Any, shop: Shop, tmp_path: Path, risk: str
) -> None:
    doubtful = replace(response(), errors=Shared())
    by_mean, by_risk = plan("budget=200", held=doubtful), plan("budget=200", f"risk={risk}", held=doubtful)
    sent = [np.bincount(found.plan.choice, minlength=4) for found in (by_mean, by_risk)]
    assert sent[1][3] < sent[0][3] / 2, "the offer that nobody is sure of is sent less"
    assert by_risk.value.mean < by_mean.value.mean
    assert by_risk.value.low > by_mean.value.low
    assert by_mean.evidence["risk"] is None
    kept = settings(tmp_path, "budget=200", f"risk={risk}")
    proposal = assemble(shop, kept, None, by_risk, {}, now=NOW, created_by="test")
    told = proposal.summary["coupons"]
    assert told["risk"]["setting"] == risk
    assert told["objective"] <= told["bound"]
    assert told["gap"] <= 5e-3
    assert "Coupons were chosen for" in render_report(proposal, language="en")


def test_an_offer_that_failed_its_checks_adds_no_error(plan: Any) -> None:
    partly = replace(response(offer_credible=(True, True, True, False)), errors=Shared())
    found = plan("risk=worst", "explore=0.3", held=partly)
    drawn = found.plan.explored & (found.plan.choice == 3)
    assert drawn.any()
    assert found.robust.worst > found.robust.expected - 2 * Shared().sd_of_sum(np.where(drawn, 0, found.plan.choice))
