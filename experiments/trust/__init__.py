"""Whether a result may be believed: checks that are made on every reading, and shown wherever it is shown.

    check.py         what a check says
    sample_ratio.py  did the split come out as planned: once, at every look, and by segment
    exposures.py     units in two variants, exposures before the assignment or the start, clocks that are wrong
    carry_over.py    earlier tests, and differences that were there before the experiment
    novelty.py       does the effect wear off
    drawn.py         designs drawn as a whole: missing units, what ran, what was felt and spent
    outliers.py      one unit that makes the result, and effects too good to be true (Twyman's law)

The checks take counts, moments and arms; the package measure reads those from the database.
"""
