"""Run by test_coupon_spark: one allocation on a real local Spark, in a process of its own, a worker killed on the way.

python spark_allocation.py VALUES.parquet PARTITIONS WORK_FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas
import pyarrow

from engine.errors import DataError
from optimizers.coupons.by_name import Limits
from optimizers.coupons.parity import part_parity, report_of_parts
from optimizers.coupons.partitioned_plan import decided
from optimizers.coupons.partitions import allocate_partitions
from optimizers.coupons.questions import Chunks
from optimizers.coupons.spark import SparkPartitions, chosen_coupons, dense_table, parity_of, spark_partitions
from optimizers.coupons.sums import Rules

OFFERS = ("o1", "o2", "o3")
SEGMENTS = ("a", "b")


@dataclass(frozen=True)
class Killing:
    """Partitions of which the first worker that meets the third question dies, without a word."""

    inner: SparkPartitions
    marker: str

    def map(self, work, argument):
        marker = self.marker

        def deadly(number, partition, sent):
            if number == 1 and Path(marker).exists():
                Path(marker).unlink()
                os._exit(1)
            return work(number, partition, sent)

        return self.inner.map(deadly, argument)

    def narrowed(self, box):
        kept, settled = self.inner.narrowed(box)
        Path(self.marker).touch()  # from now on: the next question kills its worker
        return Killing(kept, self.marker), settled

    def changed(self, work, argument):
        return Killing(self.inner.changed(work, argument), self.marker)


def local_parity(path, dense, held, choices):
    """The same report from the long table and the plan made here, without Spark's sums."""
    table = pandas.read_parquet(path)
    sex = table.drop_duplicates("customer_id").set_index("customer_id")["sex"].fillna("")
    packed = {row["number"]: row["customers"] for row in dense.select("number", "customers").collect()}
    parts = []
    for number, (partition, choice) in enumerate(zip(held, choices, strict=True)):
        customers = pyarrow.ipc.open_stream(packed[number]).read_all().column(0).to_pylist()
        group = np.array([("", "m", "w").index(sex[customer]) for customer in customers])
        parts.append(part_parity(("", "m", "w"), group, partition, choice))
    return report_of_parts("sex", parts, segment_budgets=True)


def refusal(attempt):
    try:
        attempt()
    except DataError as error:
        return str(error)
    return ""


def main(path, partitions, folder):
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2,4]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", folder)
        .getOrCreate()
    )
    rules = Rules(375.0, np.array([150.0, np.inf]), 450.0, 800.0, np.array([np.inf, 200.0, np.inf, 300.0]))
    alone = Limits(contact_limit=3, exclusive=[["o1", "o2"]], parity="sex")
    asked = {"gap": 1e-5, "explore": 0.1, "seed": 4}
    dense = dense_table(session.read.parquet(path), OFFERS, SEGMENTS, partitions, alone)
    there = spark_partitions(dense, len(OFFERS) + 1)
    plan = allocate_partitions(there, rules, **asked)
    marker = Path(folder) / "kill"
    survived = allocate_partitions(Killing(there, str(marker)), rules, **asked)
    coupons = chosen_coupons(dense, OFFERS, plan).toArrow().to_pandas()
    held = [partition for _, partition in sorted(there.rdd.collect(), key=lambda pair: pair[0])]
    here = Chunks([lambda partition=partition: partition for partition in held])
    local = allocate_partitions(here, rules, **asked)
    choices = [decided(number, partition, local).choice for number, partition in enumerate(held)]
    parity = parity_of(dense, OFFERS, plan, "sex", segment_budgets=True)
    coupons.to_parquet(Path(folder) / "coupons.parquet")
    columns = "customer_id string, offer_id string, profit double, cost double, segment string"
    bad = session.createDataFrame([("c1", "o1", 1.0, -2.0, "a")], columns)
    torn = [("c1", "o1", 1.0, 2.0, "a", "w"), ("c1", "o2", 1.0, 2.0, "a", "m")]
    figures = {
        "objective": plan.objective,
        "bound": plan.bound,
        "spend": plan.spend,
        "gap": plan.gap,
        "sent": plan.sent,
        "local_objective": local.objective,
        "local_bound": local.bound,
        "local_sent": int(sum(np.count_nonzero(choice) for choice in choices)),
        "survived_objective": survived.objective,
        "survived_bound": survived.bound,
        "killed": not marker.exists(),
        "written": int((coupons["offer_id"] != "").sum()),
        "explored": int(coupons["explored"].sum()),
        "written_profit": float(coupons["profit"].sum()),
        "written_cost": float(coupons["cost"].sum()),
        "customers_twice": int(coupons["customer_id"].duplicated().sum()),
        "partitions": len(held),
        "refused": refusal(lambda: dense_table(bad, OFFERS, SEGMENTS, 1)),
        "torn": refusal(
            lambda: dense_table(
                session.createDataFrame(torn, columns + ", sex string"), OFFERS, SEGMENTS, 1, Limits(parity="sex")
            )
        ),
        "parity": asdict(parity),
        "local_parity": asdict(local_parity(path, dense, held, choices)),
    }
    session.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
