#include "sieve.h"
#include <string.h>

void sieve(char *is_prime, unsigned long limit)
{
    memset(is_prime, 1, limit);
    for (unsigned long i = 2; i * i < limit; i++)
        for (unsigned long j = i * i; is_prime[i] && j < limit; j += i)
            is_prime[j] = 0;
}
