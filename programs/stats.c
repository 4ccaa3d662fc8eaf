#include "stats.h"

#include <math.h>

void pq_wilson(double p, int n, double *low, double *high) {
    const double z = 1.959963984540054; /* of the normal distribution's middle 95 % */
    *low = 0;
    *high = 1;
    if (n <= 0)
        return;
    double share = z * z / n, middle = (p + share / 2) / (1 + share);
    double half = z / (1 + share) * sqrt(p * (1 - p) / n + share / (4 * n));
    *low = middle - half < 0 ? 0 : middle - half;
    *high = middle + half > 1 ? 1 : middle + half;
}

double pq_mcnemar(int lost, int gained) {
    int n = lost + gained, few = lost < gained ? lost : gained;
    double tail = 0;
    for (int i = 0; i <= few; i++)
        tail += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) - n * log(2.0));
    return 2 * tail < 1 ? 2 * tail : 1;
}

double pq_pass_at_k(int n, int c, int k) {
    double none = 1; /* that k samples drawn without replacement all fail */
    if (n - c < k)
        return 1;
    for (int i = n - c + 1; i <= n; i++)
        none *= 1 - (double)k / i;
    return 1 - none;
}
