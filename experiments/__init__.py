"""What it earned: design, assignment, measurement and decision.

before      history.py, power.py, sequential.py     what is known, how many units, when it may be read
            few_units.py, clock.py                  the same of few units that are there from the first day
            design.py, known_units.py,
            proposal_design.py,
            switchback_design.py                    everything that is fixed before the start, as data
who         assign.py, hashing.py, targeting.py     units that turn up one by one
            randomise.py                            units that are known: strata, clusters, balance
prices      switchback.py, switchback_minimax.py,
            price_test.py,
            synthetic_control.py                    over time, products, regions; never over persons
budgets     shared_budget.py, budget_design.py      two policies on one budget
after       measure/, statistics/, trust/           effects, valid intervals, whether to believe them
            design_reading.py, drawn_reading.py,
            design_logs.py, reading.py, decide.py   read as designed, decided by the rule
learning    bandits/, off_policy.py                 while earning
"""
