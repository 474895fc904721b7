"""Coupons of a simulated shop: whom they move, who merely cashes them, and whom the shop sent them to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.simulation.scenario import Scenario
from engine.simulation.truth import CouponTruth

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEND_SHARE_RANDOM = 0.5
"""Share of the randomised customer-waves that are sent a coupon; the offer is drawn evenly."""
SEND_SHARE_TARGETED = 0.4


@dataclass(frozen=True)
class Response:
    """(N, O) chances for each customer and offer, offer 0 being none."""

    buys: Floats
    redeems: Floats
    """Chance of redemption by somebody who buys."""
    basket: Floats
    """(N,) expected profit of a purchase before the coupon, money."""
    face: Floats
    """(O,) money."""
    looks: Floats
    """(N, O) chance of redemption as the attributes alone foretell it, which is what the shop targets by."""

    def truth(self, customer_ids: tuple[str, ...]) -> CouponTruth:
        """Take the expectation of incremental profit and cost."""
        cost = self.buys * self.redeems * self.face
        profit = (self.buys - self.buys[:, :1]) * self.basket[:, None] - cost
        offers = ("", *(f"offer_{chr(ord('A') + i)}" for i in range(len(self.face) - 1)))
        return CouponTruth(customer_ids, offers, profit, cost, self.buys[:, 0] * self.basket)


def make_customers(scenario: Scenario, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the customers table: attributes that a shop would hold."""
    n = scenario.customers
    loyal = rng.normal(0, 1, n)
    return pd.DataFrame(
        {
            "customer_id": [f"C{i + 1:06d}" for i in range(n)],
            "age_band": rng.choice(
                np.array(["18-29", "30-44", "45-59", "60+"], dtype=object), n, p=[0.2, 0.3, 0.3, 0.2]
            ),
            "income_band": rng.choice(np.array(["low", "middle", "high"], dtype=object), n, p=[0.3, 0.45, 0.25]),
            "household_size": 1 + rng.binomial(4, 0.35, n),
            "app_user": (rng.random(n) < _logistic(0.4 * loyal - 0.2)).astype(np.int64),
            "distance_km": np.round(rng.gamma(2.0, 2.5, n), 1),
            "tenure_weeks": np.round(np.clip(rng.gamma(2.0, 60.0, n) + 20 * loyal, 1, 600)).astype(np.int64),
            "visits_last_quarter": rng.poisson(np.exp(1.7 + 0.6 * loyal)),
        }
    )


def make_response(scenario: Scenario, customers: pd.DataFrame, rng: np.random.Generator) -> Response:
    """Draw how each customer answers to each offer.

    Frequent visitors with the app buy anyway and redeem nearly always: a coupon to them is given away. Those who come
    seldom, live near and have a family are moved. So redemption runs against incrementality, and both can be seen in
    the attributes, apart from a part that nobody sees.
    """
    n = len(customers)
    often = _centred(np.log1p(customers["visits_last_quarter"].to_numpy(dtype=np.float64)))
    near = -_centred(np.log1p(customers["distance_km"].to_numpy(dtype=np.float64)))
    family = _centred(customers["household_size"].to_numpy(dtype=np.float64))
    app = customers["app_user"].to_numpy(dtype=np.float64) - 0.45
    poor = (customers["income_band"] == "low").to_numpy(dtype=np.float64)
    rich = (customers["income_band"] == "high").to_numpy(dtype=np.float64)
    face = np.array([0.0, *scenario.coupon_faces])
    basket = np.exp(1.9 + 0.25 * family + 0.20 * rich + 0.10 * often)
    redeems = _logistic(0.5 + 0.7 * often[:, None] + 1.2 * app[:, None] + 0.3 * face[None, :]) * (face > 0)
    usual = -0.4 + 1.2 * often + 0.25 * near + 0.15 * family
    moved = -1.7 - 0.9 * often + 0.6 * near + 0.6 * family + 0.7 * poor
    seen = _purchase_chance(scenario, usual, moved, face)
    buys = _purchase_chance(scenario, usual + rng.normal(0, 0.3, n), moved + rng.normal(0, 0.3, n), face)
    return Response(buys, redeems, basket, face, seen * redeems)


def _purchase_chance(scenario: Scenario, usual: Floats, moved: Floats, face: Floats) -> Floats:
    """(N, O) chance of a purchase: the usual one, plus what a coupon moves of those who would not have bought."""
    plain = _logistic(usual)
    pull = face / (face + 1.5)
    gain = scenario.coupon_effect * (1 - plain)[:, None] * _logistic(moved)[:, None] * pull[None, :]
    return np.clip(plain[:, None] + gain, 0, 1)


def make_history(
    scenario: Scenario, customers: pd.DataFrame, response: Response, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw the coupon_history table: a row for each customer and wave; offer_id is missing where nothing was sent."""
    n, waves, offers = len(customers), scenario.coupon_waves, len(response.face) - 1
    customer, wave = np.tile(np.arange(n), waves), np.repeat(np.arange(waves), n)
    randomised = rng.random(n * waves) < scenario.coupon_randomised
    intention = rng.normal(0, 1, n * waves)
    random_offer = np.where(rng.random(n * waves) < SEND_SHARE_RANDOM, rng.integers(1, offers + 1, n * waves), 0)
    targeted = _targeted_offer(scenario, response, customer, intention, rng)
    offer = np.where(randomised, random_offer, targeted)
    bought = _luck(scenario, intention, rng) > 1 - response.buys[customer, offer]
    redeemed = bought & (rng.random(n * waves) < response.redeems[customer, offer])
    basket = rng.gamma(2.0, response.basket[customer] / 2.0) * _wave_mood(waves, rng)[wave]
    face = response.face[offer]
    ids = np.array(["", *(f"offer_{chr(ord('A') + i)}" for i in range(offers))], dtype=object)
    return pd.DataFrame(
        {
            "customer_id": customers["customer_id"].to_numpy(dtype=object)[customer],
            "wave": wave + 1,
            "sent": (offer > 0).astype(np.int64),
            "offer_id": pd.Series(ids[offer]).where(offer > 0),
            "face_value": face,
            "redeemed": redeemed.astype(np.int64),
            "bought": bought.astype(np.int64),
            "profit": np.round(bought * basket - redeemed * face, 2),
            "randomised": randomised.astype(np.int64),
        }
    )


def _targeted_offer(
    scenario: Scenario, response: Response, customer: Ints, intention: Floats, rng: np.random.Generator
) -> Ints:
    """Follow the shop's own habit: coupons go to those who look most likely to redeem."""
    likely = response.looks
    score = _centred(likely[:, 1:].mean(axis=1))[customer] + rng.normal(0, 0.8, len(customer))
    score = score + scenario.coupon_hidden_targeting * intention
    sent = score > np.quantile(score, 1 - SEND_SHARE_TARGETED)
    taste = 0.8 * np.log(np.maximum(likely[customer, 1:], 1e-9)) + rng.gumbel(size=(len(customer), likely.shape[1] - 1))
    return np.where(sent, 1 + np.argmax(taste, axis=1), 0)


def _logistic(value: Floats) -> Floats:
    chance: Floats = 1.0 / (1.0 + np.exp(-value))
    return chance


def _luck(scenario: Scenario, intention: Floats, rng: np.random.Generator) -> Floats:
    """Even on 0…1 for each customer-wave, high where the hidden intention is high as far as targeting follows it.

    The chance of a purchase stays what the truth says, whatever the correlation (a Gaussian copula).
    """
    from scipy.special import ndtr

    hold = 0.7 * min(scenario.coupon_hidden_targeting, 1.0)
    luck: Floats = ndtr(hold * intention + np.sqrt(1 - hold**2) * rng.normal(0, 1, len(intention)))
    return luck


def _wave_mood(waves: int, rng: np.random.Generator) -> Floats:
    """Factor on the baskets of each wave; its mean is 1."""
    mood = np.exp(rng.normal(0, 0.15, waves))
    factor: Floats = mood / mood.mean()
    return factor


def _centred(values: Floats) -> Floats:
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
