/* stats.h - the arithmetic of counted successes. */
#ifndef PQ_PROGRAMS_STATS_H
#define PQ_PROGRAMS_STATS_H

/* Wilson's 95 % interval of a share p seen in n trials; p need not be a whole number of n-ths.
 * E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.  n = 0 gives 0 and 1. */
void pq_wilson(double p, int n, double *low, double *high);

/* McNemar's exact two-sided p: of `lost` and `gained` discordant pairs, how likely it is to see a
 * split at least as uneven when both ways are equally likely.  1 when there are none. */
double pq_mcnemar(int lost, int gained);

/* The unbiased estimate of pass@k from n samples of which c pass: 1 - C(n-c, k) / C(n, k).
 * Chen et al., arXiv:2107.03374, equation 1.  1 <= k <= n. */
double pq_pass_at_k(int n, int c, int k);

#endif
