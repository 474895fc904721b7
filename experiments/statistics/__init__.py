"""The pure statistics of an experiment: from sufficient statistics to effects, with no table in sight.

moments.py        count, means and centred cross-products of a group of units; they add up over partitions
arms.py           the mean vector of a variant and its covariance: plain, or post-stratified
contrast.py       treatment minus control: means, ratios, CUPED; absolute and relative, by the delta method
multiple.py       Holm and Benjamini-Hochberg
posterior.py      the normal posterior of an effect
heterogeneity.py  do the segments differ, and what is each one's effect, shrunk
quantile.py       the standard error of a quantile by inverting the test of its level

Everything takes and returns frozen records and arrays; nothing here reads, writes or draws.
"""
